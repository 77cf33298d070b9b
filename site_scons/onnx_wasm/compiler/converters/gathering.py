"""Elements at places that a run computes; a place that is none of the tensor's reads the nearest one.

ONNX calls such places an error, which a kernel has no way to tell. What matters is that no memory beside the tensor is
read: the inputs are untrusted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import clamped, extents, replaced
from onnx_wasm.compiler.frontend.refusal import Refusal


def _gather(call: Call) -> relax.Expr:
    data, indices = call.operand(0), call.operand(1)
    shape, places = ([int(it) for it in operand.ty.shape.values] for operand in (data, indices))
    axis = call.attributes["axis"] % len(shape)
    if isinstance(indices, GenericConst):
        known = indices.value.numpy().astype(np.int64)
        if ((known < -shape[axis]) | (known >= shape[axis])).any():
            raise Refusal(f"reads an index that a dimension of {shape[axis]} does not have", "export the model again")
        indices = constant(np.where(known < 0, known + shape[axis], known))
        if not places:
            at = int(known) % shape[axis]
            part = call.emit(relax.op.strided_slice(data, [axis], [at], [at + 1]))
            return relax.op.reshape(part, [*shape[:axis], *shape[axis + 1 :]])

    def compute(x: te.Tensor, at: te.Tensor) -> te.Tensor:
        def element(*own: tirx.Expr) -> tirx.Expr:
            place = _place(at(*own[axis : axis + len(places)]), shape[axis])
            return x(*own[:axis], place, *own[axis + len(places) :])

        return te.compute((*shape[:axis], *places, *shape[axis + 1 :]), element)

    return call.kernel(compute, data, indices, injective=True)


def _gather_elements(call: Call) -> relax.Expr:
    data, indices = call.operand(0), call.operand(1)
    shape = [int(it) for it in data.ty.shape.values]
    axis = call.attributes["axis"] % len(shape)

    def compute(x: te.Tensor, at: te.Tensor) -> te.Tensor:
        def element(*own: tirx.Expr) -> tirx.Expr:
            return x(*replaced(own, axis, _place(at(*own), shape[axis])))

        return te.compute(extents(at), element)

    return call.kernel(compute, data, indices, name="gather_elements")


def _gather_nd(call: Call) -> relax.Expr:
    data, indices = call.operand(0), call.operand(1)
    shape, places = ([int(it) for it in operand.ty.shape.values] for operand in (data, indices))
    batch, depth = call.attributes.get("batch_dims", 0), places[-1]

    def compute(x: te.Tensor, at: te.Tensor) -> te.Tensor:
        def element(*own: tirx.Expr) -> tirx.Expr:
            outer = own[: len(places) - 1]
            inner: list[Any] = [_place(at(*outer, k), shape[batch + k]) for k in range(depth)]
            return x(*own[:batch], *inner, *own[len(places) - 1 :])

        return te.compute((*places[:-1], *shape[batch + depth :]), element)

    return call.kernel(compute, data, indices, name="gather_nd")


def _place(index: tirx.Expr, extent: int) -> tirx.Expr:
    """Indices below zero count from the end."""
    wide = index.astype("int64")
    return clamped(tirx.Select(wide < 0, wide + extent, wide), extent)


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "Gather"): _gather,
    ("", "GatherElements"): _gather_elements,
    ("", "GatherND"): _gather_nd,
}
