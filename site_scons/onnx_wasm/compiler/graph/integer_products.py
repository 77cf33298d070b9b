"""Products of dequantised tensors become products of the integers that they were made of, and one factor behind.

In a model with QuantizeLinear and DequantizeLinear around operators on floats, (x − zero) · scale is summed as floats;
here it is summed as the integers that it is made of, exactly. What is quantised and then dequantised is an int16 in
between, less its zero point; so are its parts, if it is a concatenation, and what it is the largest of.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.quantisation import Quantisation, quantised_by
from onnx_wasm.compiler.graph.rewriter import Rewriter, array_of, constant, dtype_of, is_constant, shape_of
from onnx_wasm.compiler.graph.stored import Stored

_BYTES = ("int8", "uint8")
_LARGEST = 255
"""Of what is read from a byte less its zero point."""

_MATRIX = 2


_MOST = "relax.nn.max_pool2d"
_MOVING = frozenset(f"relax.{name}" for name in ("expand_dims", "nn.pad", "permute_dims", "reshape", "squeeze"))


@dataclass(frozen=True)
class Quantised:
    """A tensor that is integers · scale.

    Args:
        integers: As int16, less their zero point.
        scale: One for all, without axes.
    """

    integers: relax.Expr
    scale: relax.Expr


def integer_products(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _IntegerProducts(module).run()


class _IntegerProducts(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {
            "relax.nn.conv2d": self._convolution,
            "relax.matmul": self._matmul,
            "relax.multiply": self._read_again,
            **dict.fromkeys(("relax.astype", "relax.reshape", "relax.subtract"), self._once),
        }
        self._made: dict[Hashable, relax.Expr] = {}
        self._known: dict[relax.Expr, Quantised | None] = {}
        self._centred: dict[tuple[relax.Expr, Quantisation], relax.Expr] = {}

    def _convolution(self, call: relax.Call) -> relax.Expr | None:
        picture, weights, how = self._quantised(call.args[0]), self.stored(call.args[1]), call.attrs
        if picture is None or weights is None or not _is_exact(weights, 0):
            return None
        total = R.nn.conv2d(
            picture.integers,
            self.read(_centred(weights)),
            strides=how.strides,
            padding=how.padding,
            dilation=how.dilation,
            groups=int(how.groups),
            data_layout=how.data_layout,
            kernel_layout=how.kernel_layout,
            out_layout=how.out_layout,
            out_dtype="int32",
        )
        channels = [1] * len(shape_of(call))
        channels[how.out_layout.index("C")] = -1
        return self._scaled(total, picture.scale, constant(_factor(weights).reshape(channels)))

    def _matmul(self, call: relax.Call) -> relax.Expr | None:
        left, right = call.args
        x = self._quantised(left)
        if x is None:
            return None
        weights = self.stored(right)
        if weights is not None and len(shape_of(right)) == _MATRIX and _is_exact(weights, 1):
            total = R.matmul(x.integers, self.read(_centred(weights)), out_dtype="int32")
            return self._scaled(total, x.scale, constant(_factor(weights).reshape(-1)))
        y = self._quantised(right)
        if y is None or shape_of(left)[-1] * _LARGEST**2 > np.iinfo("int32").max:
            return None
        total = R.matmul(x.integers, y.integers, out_dtype="int32")
        return self._scaled(total, x.scale, y.scale)

    def _read_again(self, call: relax.Call) -> relax.Expr | None:
        """Of what stays integers, floats are made where something reads them."""
        if dtype_of(call) != "float32" or self._kept(call) is None:
            return None
        its = self._dequantised(call)
        return None if its is None else self.emit(R.multiply(self.emit(R.astype(its.integers, "float32")), its.scale))

    def _once(self, call: relax.Call) -> relax.Expr | None:
        """What several products read, less its zero point, comes once for each of them."""
        if dtype_of(call) != "int16":
            return None
        operands = [self.rewritten(it) for it in call.args]
        key = (call.op.name, *map(_identity, operands))
        if key not in self._made:
            self._made[key] = self.emit(relax.Call(call.op, operands, call.attrs))
        return self._made[key]

    def _quantised(self, expression: relax.Expr) -> Quantised | None:
        """What a tensor of the original function is made of, if it is dequantised."""
        if expression not in self._known:
            call = self.call_of(expression)
            self._known[expression] = None if call is None else self._moved(call) or self._dequantised(call)
        return self._known[expression]

    def _moved(self, call: relax.Call) -> Quantised | None:
        """One that only puts elements elsewhere, and zeros where there are none."""
        if call.op.name not in _MOVING or (call.op.name == "relax.nn.pad" and not _pads_zeros(call)):
            return None
        source = self._quantised(call.args[0])
        if source is None:
            return None
        return Quantised(self.emit(relax.Call(call.op, [source.integers, *call.args[1:]], call.attrs)), source.scale)

    def _kept(self, call: relax.Call) -> tuple[relax.Expr, Quantisation] | None:
        """What a call dequantises that was quantised with the same zero point, and how that was."""
        if not _is_number(call.args[1]):
            return None
        read, zero = self.call_of(call.args[0]), 0.0
        if read is not None and read.op.name == "relax.subtract" and _is_number(read.args[1]):
            zero, read = float(array_of(read.args[1]).item()), self.call_of(read.args[0])
        if read is None or read.op.name != "relax.astype":
            return None
        found = quantised_by(self, read.args[0])
        return found if found is not None and found[1].zero == zero else None

    def _integers(self, expression: relax.Expr, how: Quantisation) -> relax.Expr:
        """A tensor of floats as int16: what its bytes are less their zero point."""
        key = expression, how
        if key not in self._centred:
            self._centred[key] = self.emit(self._quantise(expression, how))
        return self._centred[key]

    def _quantise(self, expression: relax.Expr, how: Quantisation) -> relax.Expr:
        call = self.call_of(expression)
        moved = None if call is None else self._moved_before(call, how)
        if moved is not None:
            return moved
        value = self.rewritten(expression)
        scaled = value if how.scale == 1 else self.emit(R.divide(value, relax.const(how.scale, "float32")))
        least, most = how.bounds
        return R.astype(self.emit(R.clip(self.emit(R.round(scaled)), least, most)), "int16")

    def _moved_before(self, call: relax.Call, how: Quantisation) -> relax.Expr | None:
        """What comes to the same if what a call reads is quantised first; None if nothing is known to."""
        name = call.op.name
        if (name in _MOVING and (name != "relax.nn.pad" or _pads_zeros(call))) or name == _MOST:
            return relax.Call(call.op, [self._integers(call.args[0], how), *call.args[1:]], call.attrs)
        if name == "relax.concat" and isinstance(call.args[0], relax.Tuple):
            return R.concat([self._integers(it, how) for it in call.args[0].fields], axis=call.attrs.axis)
        kept = self._kept(call) if name == "relax.multiply" else None
        if kept is None or kept[1] != how or float(array_of(call.args[1]).item()) != how.scale:
            return None
        return self._integers(*kept)

    def _dequantised(self, call: relax.Call) -> Quantised | None:
        if call.op.name != "relax.multiply" or not _is_single(call.args[1]):
            return None
        if (kept := self._kept(call)) is not None:
            return Quantised(self._integers(*kept), self._single(call.args[1]))
        read, zero = self.call_of(call.args[0]), None
        if read is not None and read.op.name == "relax.subtract":
            subtracted, read = read.args[1], self.call_of(read.args[0])
            zero = None if read is None else self._zero(subtracted, dtype_of(read.args[0]))
            read = None if zero is None else read
        if read is None or read.op.name != "relax.astype" or dtype_of(read.args[0]) not in _BYTES:
            return None
        integers = self.emit(R.astype(self.rewritten(read.args[0]), "int16"))
        if zero is not None:
            integers = self.emit(R.subtract(integers, zero))
        return Quantised(integers, self._single(call.args[1]))

    def _zero(self, expression: relax.Expr, dtype: str) -> relax.Expr | None:
        """A zero point as int16; None if it is none of a dtype."""
        if not _is_single(expression) or dtype not in _BYTES:
            return None
        value = self._single(expression)
        if is_constant(value):
            return constant(array_of(value).astype("int16")) if _is_of(array_of(value), dtype) else None
        read = self.call_of(expression)
        if read is not None and read.op.name == "relax.reshape":
            read = self.call_of(read.args[0])
        if read is None or read.op.name != "relax.astype" or dtype_of(read.args[0]) != dtype:
            return None
        return self.emit(R.astype(value, "int16"))

    def _scaled(self, total: relax.Expr, scale: relax.Expr, factor: relax.Expr) -> relax.Expr:
        total = self.emit(R.astype(self.emit(total), "float32"))
        both = (scale, factor)
        if all(map(is_constant, both)):
            return self.emit(R.multiply(total, constant(np.multiply(*map(array_of, both)))))
        return self.emit(R.multiply(total, self.emit(R.multiply(*both))))

    def _single(self, expression: relax.Expr) -> relax.Expr:
        """A tensor of one element without axes."""
        value = self.rewritten(expression)
        if is_constant(value):
            return constant(array_of(value).reshape(()))
        return self.emit(R.reshape(value, ())) if shape_of(value) else value


def _identity(operand: relax.Expr) -> Hashable:
    if not is_constant(operand):
        return tuple(int(it) for it in operand.values) if isinstance(operand, relax.ShapeExpr) else operand
    array = array_of(operand)
    return array.shape, array.tobytes()


def _pads_zeros(call: relax.Call) -> bool:
    return str(call.attrs.pad_mode) == "constant" and float(call.attrs.pad_value) == 0


def _is_single(expression: relax.Expr) -> bool:
    return bool(np.prod(shape_of(expression), dtype=int) == 1)


def _is_number(expression: relax.Expr) -> bool:
    """Whether a tensor has one element, and that is known."""
    return is_constant(expression) and _is_single(expression)


def _is_of(zero: np.ndarray, dtype: str) -> bool:
    """Whether a dtype of bytes has a zero point's values."""
    limits = np.iinfo(dtype)
    return bool(np.isin(zero, np.arange(limits.min, limits.max + 1)).all())


def _is_exact(weights: Stored, axis: int) -> bool:
    """Whether weights are bytes of one factor for each index of an axis, and no sum of products leaves int32."""
    values, zero, factor = weights.values, weights.zero, weights.factor
    if str(values.dtype) not in _BYTES or weights.dtype != "float32" or factor is None:
        return False
    of_each = [1] * values.ndim
    of_each[axis] = values.shape[axis]
    if factor.size > 1 and [*[1] * (values.ndim - factor.ndim), *factor.shape] != of_each:
        return False
    if zero is not None and not _is_of(zero, str(values.dtype)):
        return False
    sums = np.abs(_centred(weights).read().astype("int64")).sum(tuple(it for it in range(values.ndim) if it != axis))
    return bool(sums.max(initial=0) * _LARGEST <= np.iinfo("int32").max)


def _centred(weights: Stored) -> Stored:
    """The integers that weights are made of, less their zero point."""
    zero = None if weights.zero is None else weights.zero.astype("int16")
    return Stored(weights.values, "int16", zero)


def _factor(weights: Stored) -> np.ndarray:
    assert weights.factor is not None
    return weights.factor.astype("float32")
