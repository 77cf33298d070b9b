"""Halves: computed with as float32 and rounded after each node, as wasm has no arithmetic of them; and their casts.

The conversions are ``intrinsics``'. Left to LLVM 22, they become calls of functions for each element, what is between
two of them becomes arithmetic of halves, on some of which its code generator for wasm does not end, and those from and
to doubles come out wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import GenericConst

from onnx_wasm.compiler import intrinsics
from onnx_wasm.compiler.converters.call import Call, constant
from onnx_wasm.compiler.converters.indexing import extents
from onnx_wasm.compiler.converters.tvm_own import tvm_convert
from onnx_wasm.compiler.frontend.graph import TensorType

_MOVING = frozenset(
    (
        *(
            "BitCast",
            "Cast",
            "CastLike",
            "Compress",
            "Concat",
            "ConstantOfShape",
            "DepthToSpace",
            "Expand",
            "EyeLike",
            "Flatten",
        ),
        *("Gather", "GatherElements", "GatherND", "Identity", "OneHot", "Pad", "Reshape", "ReverseSequence", "Slice"),
        *("SpaceToDepth", "Split", "Squeeze", "TensorScatter", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where"),
    )
)
"""Operators that compute nothing of a half."""

_SMALL = 1 << 16
"""Elements of a constant that may become wider in the file."""


def widened(call: Call) -> Call:
    """A node with float32 in the place of halves, if it computes with them; the node itself otherwise."""
    if call.node.proto.op_type in _MOVING or not any(it is not None and _is_half(it) for it in call.inputs):
        return call
    inputs = tuple(_wide(call, it) if it is not None and _is_half(it) else it for it in call.inputs)
    types = tuple(it and TensorType(it.dtype.replace("float16", "float32"), it.shape) for it in call.types)
    return replace(call, inputs=inputs, types=types)


def narrowed(call: Call, outputs: list[relax.Expr]) -> list[relax.Expr]:
    """What ``widened`` computes, as halves where the node makes them.

    Args:
        call: The node as it was.
        outputs: Of the wide one.
    """
    return [
        call.builder.normalize(_half(call, it))
        if type_ is not None and type_.dtype == "float16" and str(it.ty.dtype) == "float32"
        else it
        for it, type_ in zip(outputs, [*call.types, *[None] * len(outputs)], strict=False)
    ]


def _is_half(it: relax.Expr) -> bool:
    return str(getattr(it.ty, "dtype", "")) == "float16"


def _wide(call: Call, it: relax.Expr) -> relax.Expr:
    if not isinstance(it, GenericConst):
        return call.kernel(_by_element(intrinsics.widen), it, name="widen")
    value = it.value.numpy()
    return constant(value.astype(np.float32)) if value.size <= _SMALL else call.emit(relax.op.astype(it, "float32"))


def _half(call: Call, it: relax.Expr) -> relax.Expr:
    """In a kernel of its own: TVM's simplifier writes bindings out, which in a chain of conversions has no end."""
    return call.kernel(_by_element(intrinsics.narrow), it, name="narrow", alone=True)


def cast(call: Call) -> relax.Expr:
    """Converts a Cast."""
    source, type_ = call.operand(0), call.types[0]
    if type_ is None or _is_half(source) == (type_.dtype == "float16"):
        return tvm_convert(call)
    if _is_half(source):
        wide = _wide(call, source)
        return wide if type_.dtype == "float32" else tvm_convert(replace(call, inputs=(wide,)))
    if str(source.ty.dtype) == "float64":
        return _half(call, call.kernel(_by_element(_to_odd), source, name="to_odd"))
    return _half(call, call.emit(relax.op.astype(source, "float32")))


def _by_element(function: Callable[[tirx.Expr], tirx.Expr]) -> Callable[[te.Tensor], te.Tensor]:
    return lambda x: te.compute(extents(x), lambda *indices: function(x(*indices)))


def _to_odd(x: tirx.Expr) -> tirx.Expr:
    """A double as float32, what is inexact rounded to an odd last bit: rounding that to a half is as rounding once.

    Source: Boldo and Melquiond, "When double rounding is odd", 2005.
    """
    nearest = x.astype("float32")
    bits, one = tirx.reinterpret("int32", nearest), tirx.const(1, "int32")
    beyond = tirx.abs(nearest.astype("float64")) > tirx.abs(x)
    odd = tirx.bitwise_or(tirx.Select(beyond, bits - one, bits), one)
    return tirx.reinterpret("float32", tirx.Select(nearest.astype("float64") != x, odd, bits))
