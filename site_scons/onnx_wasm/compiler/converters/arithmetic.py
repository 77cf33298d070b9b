"""Arithmetic of integers and mixed dtypes, as ONNX defines it at the edges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.script.ir_builder import tirx as T  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.indexing import elementwise
from onnx_wasm.compiler.converters.loops import in_order


def _binary(function: Callable[[Call], Callable[[tirx.Expr, tirx.Expr], tirx.Expr]]) -> Converter:
    def convert(call: Call) -> relax.Expr:
        return call.kernel(elementwise(_spread_shape(call), function(call)), call.operand(0), call.operand(1))

    return convert


def _spread_shape(call: Call) -> list[int]:
    shapes = ([int(it) for it in call.operand(index).ty.shape.values] for index in range(2))
    return list(np.broadcast_shapes(*shapes))


def _bit_shift(call: Call) -> Callable[[tirx.Expr, tirx.Expr], tirx.Expr]:
    """A shift by less than none or by the whole width leaves what the sign is extended by."""
    left = call.attributes["direction"] == "LEFT"

    def element(x: tirx.Expr, y: tirx.Expr) -> tirx.Expr:
        dtype = np.dtype(str(x.ty.dtype))
        amount = y.astype("int64")  # so 2⁶³ and more are below zero, and out of range as well
        valid = tirx.all(amount >= 0, amount < 8 * dtype.itemsize)
        zero = tirx.const(0, str(dtype))
        by = tirx.Select(valid, y, zero)
        fill = tirx.Select(x < 0, tirx.const(-1, str(dtype)), zero) if dtype.kind == "i" and not left else zero
        return tirx.Select(valid, x << by if left else x >> by, fill)

    return element


def _mod(call: Call) -> Callable[[tirx.Expr, tirx.Expr], tirx.Expr]:
    """The remainder has the sign of the divisor, with ``fmod`` that of the dividend."""
    as_c = bool(call.attributes["fmod"])

    def element(x: tirx.Expr, y: tirx.Expr) -> tirx.Expr:
        if np.dtype(str(x.ty.dtype)).kind in "iu":
            return tirx.truncmod(x, y) if as_c else tirx.floormod(x, y)
        wide = "float64" if str(x.ty.dtype) == "float64" else "float32"
        divisor = y.astype(wide)
        rest = tirx.call_pure_extern(wide, "fmod" if wide == "float64" else "fmodf", x.astype(wide), divisor)
        if as_c:
            return rest.astype(x.ty.dtype)
        zero = tirx.const(0, wide)
        other_side = tirx.any(tirx.all(rest > zero, divisor < zero), tirx.all(rest < zero, divisor > zero))
        moved = tirx.Select(other_side, rest + divisor, rest)
        signed = tirx.Select(rest == zero, tirx.Select(divisor < zero, tirx.const(-0.0, wide), zero), moved)
        return signed.astype(x.ty.dtype)

    return element


def _pow(call: Call) -> relax.Expr:
    """The result has the base's dtype, whatever the exponent's is."""
    base, exponent = call.operand(0), call.operand(1)
    dtype, other = str(base.ty.dtype), str(exponent.ty.dtype)
    if np.dtype(dtype).kind == "f":
        return relax.op.power(base, exponent if dtype == other else call.emit(relax.op.astype(exponent, dtype)))
    if np.dtype(other).kind in "iu":
        return _integer_power(call)
    wide = "float64" if other == "float64" else "float32"
    operands = [call.emit(relax.op.astype(it, wide)) for it in (base, exponent)]
    return relax.op.astype(call.emit(relax.op.power(*operands)), dtype)


def _integer_power(call: Call) -> relax.Expr:
    """By squaring, bit by bit of the exponent; below zero what is left of one divided: 1, −1 or 0."""
    shape = _spread_shape(call)
    base, exponent = (
        it if [int(n) for n in it.ty.shape.values] == shape else call.emit(relax.op.broadcast_to(it, shape))
        for it in (call.operand(0), call.operand(1))
    )
    dtype, other = str(base.ty.dtype), str(exponent.ty.dtype)
    one, zero, bit = tirx.const(1, dtype), tirx.const(0, dtype), tirx.const(1, other)
    signed = np.dtype(dtype).kind == "i"

    def write(x: Any, y: Any, square: Any, power: Any) -> None:
        with T.serial(0, math.prod(shape)) as i:
            power[i] = one
            square[i] = x[i]
            with T.serial(0, 8 * np.dtype(other).itemsize) as k:
                odd = tirx.bitwise_and(y[i] >> k.astype(other), bit) != 0
                power[i] = power[i] * tirx.Select(odd, square[i], one)
                square[i] = square[i] * square[i]
            if np.dtype(other).kind == "i":
                odd = tirx.bitwise_and(y[i], bit) != 0
                minus = tirx.Select(x[i] == -1, tirx.Select(odd, x[i], one), zero) if signed else zero
                power[i] = tirx.Select(y[i] < 0, tirx.Select(x[i] == one, one, minus), power[i])

    both = call.kernel(lambda *it: in_order([(shape, dtype)] * 2, write, *it), base, exponent, name="power")
    return call.emit(relax.TupleGetItem(both, 1))


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "BitShift"): _binary(_bit_shift),
    ("", "Mod"): _binary(_mod),
    ("", "Pow"): _pow,
}
