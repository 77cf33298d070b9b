"""Operators on integers as such: products of quantised tensors, and the same bits under another dtype.

Less its zero point, a byte is an int16, and a product of two such is one whose result is int32: graph passes know it by
that.
"""

from __future__ import annotations

import math
from typing import Any

from tvm import relax, te, tirx
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter, constant
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
        _centred(call, data, _zero(call, 2, 0)),
        _centred(call, weights, _zero(call, 3, len(shape) - 1)),
        strides=window.strides,
        padding=[*window.before, *window.after],
        dilation=window.dilations,
        groups=call.attributes["group"],
        out_dtype="int32",
    )


def _matmul_integer(call: Call) -> relax.Expr:
    """Of int32; a zero point is one for all, for each row of the left or for each column of the right operand."""
    left = _centred(call, call.operand(0), _zero(call, 2, 1))
    return relax.op.matmul(left, _centred(call, call.operand(1), _zero(call, 3, 0)), out_dtype="int32")


def _zero(call: Call, index: int, behind: int) -> relax.Expr | None:
    """A zero point as int16; a list of them with as many axes of one ``behind`` its own."""
    zero = call.input(index)
    if zero is None:
        return None
    shape = [int(it) for it in zero.ty.shape.values]
    count = math.prod(shape)
    shape = [] if count == 1 else [count, *[1] * behind] if len(shape) == 1 else shape
    known = call.value(index) if isinstance(zero, GenericConst) else None
    if known is not None:
        return constant(known.astype("int16").reshape(shape)) if known.any() else None
    return call.emit(relax.op.reshape(call.emit(relax.op.astype(zero, "int16")), shape))


def _centred(call: Call, tensor: relax.Expr, zero: relax.Expr | None) -> relax.Expr:
    """A tensor less its zero point: of bytes, so that int16 holds it."""
    wide = call.emit(relax.op.astype(tensor, "int16"))
    return wide if zero is None else call.emit(relax.op.subtract(wide, zero))


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


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "BitCast"): _bit_cast,
    ("", "ConvInteger"): _conv_integer,
    ("", "MatMulInteger"): _matmul_integer,
}
