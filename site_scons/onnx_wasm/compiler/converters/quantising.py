"""Floats as bytes and back, in operators on each element: they join the kernels before and behind."""

from __future__ import annotations

import math

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.tvm_own import tvm_convert

_BYTES = ("int8", "uint8")


def _quantize(call: Call) -> relax.Expr:
    x, made = call.operand(0), call.types[0]
    scale, zero = _parameter(call, 1), _parameter(call, 2)
    if made is None or made.dtype not in _BYTES or scale is None or str(x.ty.dtype) != "float32":
        return tvm_convert(call)
    is_one = isinstance(scale, GenericConst) and bool((scale.value.numpy() == 1).all())
    return _rounded(call, x if is_one else call.emit(relax.op.divide(x, scale)), zero, made.dtype)


def _dynamic(call: Call) -> list[relax.Expr]:
    """The scale is such that the whole range of the tensor, and zero, have a byte."""
    x, nothing, most = call.operand(0), relax.const(0.0, "float32"), relax.const(255.0, "float32")
    flat = call.emit(relax.op.reshape(x, [math.prod(int(it) for it in x.ty.shape.values)]))
    low = call.emit(relax.op.minimum(call.emit(relax.op.min(flat)), nothing))
    high = call.emit(relax.op.maximum(call.emit(relax.op.max(flat)), nothing))
    scale = call.emit(relax.op.divide(call.emit(relax.op.subtract(high, low)), most))
    below = call.emit(relax.op.subtract(nothing, call.emit(relax.op.divide(low, scale))))
    zero = call.emit(_rounded(call, below, None, "uint8"))
    moved = call.emit(relax.op.astype(zero, "float32"))
    return [_rounded(call, call.emit(relax.op.divide(x, scale)), moved, "uint8"), scale, zero]


def _rounded(call: Call, scaled: relax.Expr, zero: relax.Expr | None, dtype: str) -> relax.Expr:
    """What is divided by its scale, as bytes: of two the even one, and saturated."""
    rounded = call.emit(relax.op.round(scaled))
    moved = rounded if zero is None else call.emit(relax.op.add(rounded, zero))
    limits = np.iinfo(dtype)
    return relax.op.astype(call.emit(relax.op.clip(moved, limits.min, limits.max)), dtype)


def _dequantize(call: Call) -> relax.Expr:
    """What is known in few bits is left to kernels that read it as it is stored; a bias is computed now."""
    x = call.operand(0)
    scale, zero = _parameter(call, 1), _parameter(call, 2)
    if isinstance(x, GenericConst) and str(x.ty.dtype) == "int32" and isinstance(scale, GenericConst):
        return constant(x.value.numpy().astype("float32") * scale.value.numpy())  # its zero point is zero
    if isinstance(x, GenericConst) or str(x.ty.dtype) not in _BYTES or scale is None:
        return tvm_convert(call)
    wide = call.emit(relax.op.astype(x, "float32"))
    moved = wide if zero is None else call.emit(relax.op.subtract(wide, zero))
    return relax.op.multiply(moved, scale)


def _parameter(call: Call, index: int) -> relax.Expr | None:
    """A scale or zero point as float32, so that it broadcasts to what it is of; None if there is none of float32."""
    parameter = call.input(index)
    if parameter is None or str(parameter.ty.dtype) not in (*_BYTES, "float32"):
        return None
    shape = [int(it) for it in parameter.ty.shape.values]
    wide = [1] * len(call.operand(0).ty.shape.values)
    if math.prod(shape) > 1:
        wide[call.attributes["axis"]] = math.prod(shape)
    new = wide if math.prod(shape) > 1 else []
    if isinstance(parameter, GenericConst):
        value = parameter.value.numpy()
        return constant(value.astype("float32").reshape(new)) if index == 1 or value.any() else None
    wider = parameter if str(parameter.ty.dtype) == "float32" else call.emit(relax.op.astype(parameter, "float32"))
    return wider if shape == new else relax.op.reshape(wider, new)


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "DequantizeLinear"): _dequantize,
    ("", "DynamicQuantizeLinear"): _dynamic,
    ("", "QuantizeLinear"): _quantize,
}
