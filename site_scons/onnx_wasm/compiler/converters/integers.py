"""Operators on integers as such: convolutions of quantised tensors, and the same bits under another dtype."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.indexing import extents
from onnx_wasm.compiler.converters.windows import Window
from onnx_wasm.compiler.frontend.refusal import Refusal

_CONVOLUTIONS: dict[int, Any] = {3: relax.op.nn.conv1d, 4: relax.op.nn.conv2d, 5: relax.op.nn.conv3d}


def _conv_integer(call: Call) -> relax.Expr:
    """Of int32; what is padded is the zero point."""
    data, weights = call.operand(0), call.operand(1)
    shape, kernel = ([int(it) for it in operand.ty.shape.values] for operand in (data, weights))
    if len(shape) not in _CONVOLUTIONS:
        raise Refusal(f"is a convolution of {len(shape) - 2} dimensions", "use one to three dimensions")
    window = Window.of(call, kernel[2:], shape)
    return _CONVOLUTIONS[len(shape)](
        _centred(call, data, call.input(2), 0),
        _centred(call, weights, call.input(3), len(shape) - 1),
        strides=window.strides,
        padding=[*window.before, *window.after],
        dilation=window.dilations,
        groups=call.attributes["group"],
        out_dtype="int32",
    )


def _centred(call: Call, tensor: relax.Expr, zero: relax.Expr | None, behind: int) -> relax.Expr:
    """A tensor less its zero point, which may be one for each of the first axis."""
    wide = call.emit(relax.op.astype(tensor, "int32"))
    if zero is None:
        return wide
    zero = call.emit(relax.op.astype(zero, "int32"))
    count = 1
    for extent in zero.ty.shape.values:
        count *= int(extent)
    zero = call.emit(relax.op.reshape(zero, [count, *[1] * behind] if count > 1 else []))
    return call.emit(relax.op.subtract(wide, zero))


def _bit_cast(call: Call) -> relax.Expr:
    type_, source = call.types[0], str(call.operand(0).ty.dtype)
    if type_ is None or type_.dtype == "bool":
        raise Refusal("gives truth values of other bits")
    if source == "bool":
        return relax.op.astype(call.operand(0), type_.dtype)
    dtype = type_.dtype

    def compute(x: te.Tensor) -> te.Tensor:
        return te.compute(extents(x), lambda *indices: tirx.reinterpret(dtype, x(*indices)))

    return call.kernel(compute, call.operand(0), name="bit_cast")


CONVERTERS: dict[tuple[str, str], Converter] = {("", "BitCast"): _bit_cast, ("", "ConvInteger"): _conv_integer}
