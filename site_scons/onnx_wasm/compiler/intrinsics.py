"""exp, log, pow, tanh, sigmoid and erf of float32 as arithmetic, so that they run in vector lanes and import nothing.

TVM asks for these after loops are vectorised, so that one definition serves scalars and vectors. Each is accurate to
2 ulp · (1 + |x|), erf to 4, pow(x, y) to 2 ulp · (1 + |y·ln x|), subnormal results are zero:
``tests/test_intrinsics.py`` measures it. The reductions of the argument are Cody and Waite's ("Software Manual for the
Elementary Functions", 1980); the polynomials were fitted by Remez's algorithm to the intervals that the comments name,
those of erf's quotient by Lawson's.

``widen`` and ``narrow`` convert halves, by arithmetic on their bits. ``spread`` and ``dot`` are for integers in pairs,
which four lanes multiply and add in one instruction.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import tvm
from tvm import tirx

_WIDEN, _NARROW = "tirx.onnx_wasm_widen", "tirx.onnx_wasm_narrow"
_SPREAD, _DOT = "tirx.onnx_wasm_spread", "tirx.onnx_wasm_dot"
_LEVEL = 120  # above TVM's own lowering for LLVM
_PURE = 1  # CallEffectKind::kPure in TVM
ROUNDING = 1.5 * 2.0**23
"""Added to a small float32, it rounds it to a whole number, which the lowest bits of the sum are."""


@functools.cache
def register() -> None:
    """Puts these definitions in place of TVM's calls of libm, for every later compilation of this process."""
    functions: dict[str, Callable[..., tirx.Expr]] = {
        "exp": _exp,
        "log": _log,
        "pow": _power,
        "tanh": _tanh,
        "sigmoid": _sigmoid,
        "erf": _erf,
    }
    for name, function in functions.items():
        tirx.register_intrin_lowering(f"tirx.{name}", target="llvm", f=_for_float32(function), level=_LEVEL)
    tvm.ir.register_op_attr("tirx.erf", "TVectorizable", True)  # TVM has this of the others
    for name in ("sinh", "cosh"):  # and of these, which LLVM has for scalars alone
        tvm.ir.register_op_attr(f"tirx.{name}", "TVectorizable", False, level=_LEVEL)
    own = {
        _WIDEN: _for_halves(_widen),
        _NARROW: _for_halves(_narrow),
        _SPREAD: lambda call: _spread(*call.args),
        _DOT: lambda call: _dot(*call.args),
    }
    for name, lowering in own.items():
        tvm.ir.register_op_attr(name, "TCallEffectKind", _PURE)
        tvm.ir.register_op_attr(name, "TVectorizable", True)
        tvm.ir.register_op_attr(name, "TScriptPrinterName", name.removeprefix("tirx."))
        tirx.register_intrin_lowering(name, target="llvm", f=lowering)


def widen(x: tirx.Expr) -> tirx.Expr:
    """A half as float32; exact."""
    return tirx.call_intrin("float32", _WIDEN, x)


def narrow(x: tirx.Expr) -> tirx.Expr:
    """The half nearest to a float32, of two the even one."""
    return tirx.call_intrin("float16", _NARROW, x)


def pair(first: tirx.Expr, second: tirx.Expr) -> tirx.Expr:
    """Two int16 side by side in an int32, the first in the low half; where they are neighbours in memory, one load."""
    low, high = (tirx.reinterpret("uint16", it).astype("uint32") for it in (first, second))
    return tirx.reinterpret("int32", tirx.bitwise_or(low, high << tirx.const(16, "uint32")))


def spread(bytes_: tirx.Expr, offset: int) -> tirx.Expr:
    """Two int8 that stand side by side in an int16, as a pair of int16, with an offset added to each."""
    return tirx.call_intrin("int32", _SPREAD, bytes_, tirx.const(offset, "int32"))


def dot(x: tirx.Expr, y: tirx.Expr) -> tirx.Expr:
    """The sum of the products of two pairs of int16, in int32."""
    return tirx.call_intrin("int32", _DOT, x, y)


def _spread(bytes_: tirx.Expr, offset: tirx.Expr) -> tirx.Expr:
    added = int((offset.value if isinstance(offset, tirx.Broadcast) else offset).value)
    if _dtype(bytes_) == "int16x4":
        both = tirx.reinterpret("int8x8", bytes_).astype("int16x8")
        return tirx.reinterpret("int32x4", both + _same(both, added) if added else both)
    wide = bytes_.astype(_dtype(bytes_).replace("int16", "int32"))
    low = ((wide << _same(wide, 24)) >> _same(wide, 24)) + _same(wide, added)
    high = (wide >> _same(wide, 8)) + _same(wide, added)
    return tirx.bitwise_or(high << _same(wide, 16), tirx.bitwise_and(low, _same(wide, 0xFFFF)))


def _dot(x: tirx.Expr, y: tirx.Expr) -> tirx.Expr:
    if _dtype(x) == "int32x4":
        return tirx.call_llvm_pure_intrin(
            "int32x4", "llvm.wasm.dot", *(tirx.reinterpret("int16x8", it) for it in (x, y))
        )
    high, low = ([(it << _same(it, by)) >> _same(it, 16) for it in (x, y)] for by in (0, 16))
    return high[0] * high[1] + low[0] * low[1]


def _widen(x: tirx.Expr) -> tirx.Expr:
    """The bits of a half in the places of a float32's; a multiplication moves the exponent, of subnormals too."""
    int_ = _dtype(x).replace("float16", "int32")
    float_ = _dtype(x).replace("float16", "float32")
    bits = tirx.reinterpret(_dtype(x).replace("float16", "uint16"), x).astype(int_)
    size = tirx.bitwise_and(bits, _same(bits, 0x7FFF)) << _same(bits, 13)
    moved = tirx.reinterpret(int_, tirx.reinterpret(float_, size) * tirx.const(2.0**112, float_))
    special = tirx.bitwise_or(size, _same(bits, 0x7F800000))
    sign = tirx.bitwise_and(bits, _same(bits, 0x8000)) << _same(bits, 16)
    chosen = tirx.Select(size >= _same(bits, 0x0F800000), special, moved)
    return tirx.reinterpret(float_, tirx.bitwise_or(chosen, sign))


def _narrow(x: tirx.Expr) -> tirx.Expr:
    bits = tirx.reinterpret(_int(x), x)
    size = tirx.bitwise_and(bits, _i(x, 0x7FFFFFFF))
    even = tirx.bitwise_and(size >> _i(x, 13), _i(x, 1))
    normal = (tirx.max(size, _i(x, 0x38800000)) - _i(x, 0x38000000 - 0xFFF) + even) >> _i(x, 13)
    # At 0.5 the last place of a float32 is that of a subnormal half.
    subnormal = tirx.reinterpret(_int(x), tirx.reinterpret(_dtype(x), size) + _f(x, 0.5)) - _i(x, 0x3F000000)
    special = tirx.Select(size > _i(x, 0x7F800000), _i(x, 0x7E00), _i(x, 0x7C00))
    finite = tirx.Select(size < _i(x, 0x38800000), subnormal, normal)
    chosen = tirx.Select(size >= _i(x, 0x47800000), special, finite)
    sign = tirx.bitwise_and(bits >> _i(x, 16), _i(x, 0x8000))
    half = _dtype(x).replace("float32", "float16")
    return tirx.reinterpret(half, tirx.bitwise_or(chosen, sign).astype(half.replace("float", "uint")))


def _exp(bound: _Bindings, x: tirx.Expr) -> tirx.Expr:
    """The exponential: 2ⁿ · e^r with x = n·ln 2 + r and |r| ≤ ½ ln 2."""
    clamped = bound(tirx.max(tirx.min(x, _f(x, 89.0)), _f(x, -88.0)))
    shifted = bound(clamped * _f(x, 1 / math.log(2)) + _f(x, ROUNDING))
    n = bound(shifted - _f(x, ROUNDING))
    r = bound(clamped - n * _f(x, 0.693359375) + n * _f(x, 2.12194440e-4))
    series = (0.5, 0.166666657, 0.0416662954, 0.00833349675, 0.00139446568, 0.000197903428)
    mantissa = _polynomial(series, r) * (r * r) + r + _f(x, 1)
    exponent = tirx.reinterpret(_int(x), shifted) << _i(x, 23)
    result = tirx.reinterpret(_dtype(x), tirx.reinterpret(_int(x), mantissa) + exponent)
    result = tirx.Select(x < _f(x, -87.33654), _f(x, 0), result)
    return tirx.Select(x <= _f(x, 88.72283), result, x + _special(x, math.inf))  # NaN stays


def _log(bound: _Bindings, x: tirx.Expr) -> tirx.Expr:
    """The natural logarithm: n·ln 2 + ln m with x = 2ⁿ · m and √½ ≤ m < √2."""
    subnormal = x < _f(x, 2.0**-126)
    bits = bound(tirx.reinterpret(_int(x), tirx.Select(subnormal, x * _f(x, 2.0**23), x)))
    exponent = bound((bits - _i(x, 0x3F3504F3)) >> _i(x, 23))  # the bits of √½
    n = bound((exponent - tirx.Select(subnormal, _i(x, 23), _i(x, 0))).astype(_dtype(x)))
    f = bound(tirx.reinterpret(_dtype(x), bits - (exponent << _i(x, 23))) - _f(x, 1))
    square = bound(f * f)
    # (ln(1 + f) − f + ½f²) / f³ on √½ − 1 … √2 − 1
    series = (
        *(0.333333135, -0.250000089, 0.200021237, -0.166680083, 0.142194524, -0.124052778, 0.118886329),
        *(-0.116778806, 0.0674834102),
    )
    tail = _polynomial(series, f) * (square * f) - n * _f(x, 2.12194440e-4) - square * _f(x, 0.5)
    result = tail + f + n * _f(x, 0.693359375)
    result = tirx.Select(x < _special(x, math.inf), result, x)  # +∞ and NaN stay
    result = tirx.Select(x == _f(x, 0), _special(x, -math.inf), result)
    return tirx.Select(x < _f(x, 0), _special(x, math.nan), result)


def _power(bound: _Bindings, x: tirx.Expr, y: tirx.Expr) -> tirx.Expr:
    """The power xʸ, as C's ``pow`` has it."""
    exponent = _constant(y)
    if exponent is not None and exponent in _SMALL_POWERS:
        return _SMALL_POWERS[exponent](x)
    size = bound(tirx.max(x, -x))
    magnitude = bound(tirx.Select(size == _f(x, 1), _f(x, 1), _exp(bound, bound(y * _log(bound, size)))))
    undefined = tirx.Select(magnitude == magnitude + magnitude, magnitude, _special(x, math.nan))
    half = bound(y * _f(x, 0.5))
    signed = tirx.Select(tirx.floor(half) == half, magnitude, -magnitude)
    negative = tirx.Select(tirx.floor(y) == y, signed, undefined)  # 0 and ∞ have no sign to lose
    result = tirx.Select(x < _f(x, 0), negative, tirx.Select(x == x, magnitude, x))
    return tirx.Select(y == _f(x, 0), _f(x, 1), result)


def _tanh(bound: _Bindings, x: tirx.Expr) -> tirx.Expr:
    """The hyperbolic tangent: odd in x near zero, 1 − 2 / (e^2|x| + 1) elsewhere."""
    size = bound(tirx.max(x, -x))
    square = bound(x * x)
    # (tanh x − x) / x³ in x² on 0 … 0.625²
    series = (-0.333332837, 0.133314908, -0.0537435003, 0.0206505917, -0.00571704982)
    near = x + x * square * _polynomial(series, square)
    far = bound(_f(x, 1) - _f(x, 2) / (_exp(bound, bound(tirx.min(size + size, _f(x, 40)))) + _f(x, 1)))
    result = tirx.Select(size < _f(x, 0.625), near, tirx.Select(x < _f(x, 0), -far, far))
    return tirx.Select(x == x, result, x)


def _sigmoid(bound: _Bindings, x: tirx.Expr) -> tirx.Expr:
    """1 / (1 + e^−x)."""
    return _f(x, 1) / (_f(x, 1) + _exp(bound, bound(-x)))


def _erf(bound: _Bindings, x: tirx.Expr) -> tirx.Expr:
    """The error function: odd in x, a quotient of polynomials up to 4, where it is 1."""
    inside = bound(tirx.max(tirx.min(x, _f(x, 4)), _f(x, -4)))
    square = bound(inside * inside)
    # erf x / x in x² on 0 … 4²
    above = (1.12837911, 0.189591303, 0.052594427, 0.00372073706, 0.000282072491, 2.03040645e-06)
    below = (1.0, 0.50135392, 0.11373058, 0.0148772215, 0.00114853517, 3.77465876e-05)
    quotient = bound(inside * _polynomial(above, square) / _polynomial(below, square))
    return tirx.Select(x == x, tirx.max(tirx.min(quotient, _f(x, 1)), _f(x, -1)), x)


class _Bindings:
    """Values that a formula uses more than once, each computed once.

    An expression of TVM is a tree: without these, code generation would visit what is shared as often as it is used.
    """

    def __init__(self) -> None:
        self._bound: list[tuple[tirx.Var, tirx.Expr]] = []

    def __call__(self, value: tirx.Expr) -> tirx.Var:
        """Names a value."""
        variable = tirx.Var(f"t{len(self._bound)}", _dtype(value))
        self._bound.append((variable, value))
        return variable

    def around(self, result: tirx.Expr) -> tirx.Expr:
        """The formula, with all its values bound before it."""
        for variable, value in reversed(self._bound):
            result = tirx.Let(variable, value, result)
        return result


_SMALL_POWERS: dict[float, Callable[[tirx.Expr], tirx.Expr]] = {
    -1.0: lambda x: _f(x, 1) / x,
    1.0: lambda x: x,
    2.0: lambda x: x * x,
    3.0: lambda x: x * x * x,
}


def _for_float32(function: Callable[..., tirx.Expr]) -> Callable[[tirx.Call], tirx.Expr]:
    def lower(call: tirx.Call) -> tirx.Expr:
        dtype = _dtype(call)
        if dtype.startswith("float16"):  # wasm has no arithmetic of halves
            wide = dtype.replace("float16", "float32")
            return lower(tirx.call_intrin(wide, call.op.name, *(it.astype(wide) for it in call.args))).astype(dtype)
        if dtype == "float64":
            return _double(call)
        if dtype.startswith("float64x"):
            return _by_lanes(call)
        if not dtype.startswith("float32"):
            return call
        bound = _Bindings()
        arguments = [it if _constant(it) is not None else bound(it) for it in call.args]
        return bound.around(function(bound, *arguments))

    return lower


def _for_halves(function: Callable[..., tirx.Expr]) -> Callable[[tirx.Call], tirx.Expr]:
    def lower(call: tirx.Call) -> tirx.Expr:
        bound = _Bindings()
        return bound.around(function(bound(call.args[0])))

    return lower


def _double(call: tirx.Call) -> tirx.Expr:
    """Doubles are rare: libm computes them."""
    name = call.op.name.removeprefix("tirx.")
    if name == "sigmoid":
        one = tirx.const(1, "float64")
        return one / (one + tirx.call_pure_extern("float64", "exp", -call.args[0]))
    return call if name == "erf" else tirx.call_pure_extern("float64", name, *call.args)


def _by_lanes(call: tirx.Call) -> tirx.Expr:
    """A function of vectors of doubles, element by element."""
    lanes = int(call.ty.dtype.lanes)
    each = [
        _double(tirx.call_intrin("float64", call.op.name, *(tirx.Shuffle([it], [lane]) for it in call.args)))
        for lane in range(lanes)
    ]
    return tirx.Shuffle(each, list(range(lanes)))


def _polynomial(coefficients: Sequence[float], x: tirx.Expr) -> tirx.Expr:
    """Horner's scheme, the constant term first."""
    *rest, result = (_f(x, it) for it in coefficients)
    for coefficient in reversed(rest):
        result = result * x + coefficient
    return result


def _constant(x: tirx.Expr) -> float | None:
    value = x.value if isinstance(x, tirx.Broadcast) else x
    return float(value.value) if isinstance(value, tirx.FloatImm) else None


def _dtype(x: tirx.Expr) -> str:
    return str(x.ty.dtype)


def _int(x: tirx.Expr) -> str:
    return _dtype(x).replace("float32", "int32")


def _f(x: tirx.Expr, value: float) -> tirx.Expr:
    return tirx.const(value, _dtype(x))


def _i(x: tirx.Expr, value: int) -> tirx.Expr:
    return tirx.const(value, _int(x))


def _same(n: tirx.Expr, value: int) -> tirx.Expr:
    return tirx.const(value, _dtype(n))


def _special(x: tirx.Expr, value: float) -> tirx.Expr:
    """An infinity or NaN, in as many lanes as ``x`` has."""
    scalar = tirx.const(value, "float32")
    lanes = _dtype(x).partition("x")[2]
    return tirx.Broadcast(scalar, int(lanes)) if lanes else scalar
