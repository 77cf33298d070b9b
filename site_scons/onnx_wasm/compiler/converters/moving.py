"""Kernels that move elements to places: padding, reversed and scattered sequences, one-hot vectors, sorting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import clamped, extents, replaced, within
from onnx_wasm.compiler.frontend.refusal import Refusal

_LONGEST_SORT = 1 << 14


def _pad(call: Call) -> relax.Expr:
    attributes = call.attributes
    data = call.operand(0)
    shape = [int(it) for it in data.ty.shape.values]
    if call.node.opset < _PADS_ARE_INPUTS:
        pads = attributes.get("pads", attributes.get("paddings", []))
        axes, fill = list(range(len(shape))), constant(np.array(attributes["value"], str(data.ty.dtype)))
    else:
        pads = [int(it) for it in _known(call, 1)]
        given = call.value(3)
        axes = list(range(len(shape))) if given is None else [int(it) % len(shape) for it in given]
        fill = call.input(2)
        fill = constant(np.zeros((), str(data.ty.dtype))) if fill is None else fill
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, first, last in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        before[axis], after[axis] = first, last
    mode = attributes["mode"]
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise Refusal(f'has the mode "{mode}"')
    if mode == "constant" and not isinstance(fill, relax.Var) and min(before + after) >= 0:
        value = float(fill.value.numpy().reshape(-1)[0])
        return relax.op.nn.pad(data, [it for pair in zip(before, after, strict=True) for it in pair], "constant", value)
    return call.kernel(_padded(before, after, mode), data, *([fill] if mode == "constant" else []))


def _padded(before: Sequence[int], after: Sequence[int], mode: str) -> Callable[..., te.Tensor]:
    def compute(x: te.Tensor, *fill: te.Tensor) -> te.Tensor:
        sizes = extents(x)
        shape = [first + size + last for first, size, last in zip(before, sizes, after, strict=True)]

        def element(*indices: tirx.Expr) -> tirx.Expr:
            places = [index - first for index, first in zip(indices, before, strict=True)]
            if mode == "constant":
                valid = tirx.all(*(within(place, size) for place, size in zip(places, sizes, strict=True)))
                value = fill[0](*([0] * len(fill[0].shape)))
                return tirx.if_then_else(valid, x(*places), value)
            return x(*(_source(place, size, mode) for place, size in zip(places, sizes, strict=True)))

        return te.compute(shape, element)

    return compute


def _source(place: tirx.Expr, size: int, mode: str) -> Any:
    """Where an element beside a tensor is taken from."""
    if mode == "edge":
        return clamped(place, size)
    if mode == "wrap":
        return tirx.floormod(place, size)
    if size == 1:
        return tirx.const(0, place.ty.dtype)
    period = 2 * (size - 1)
    inside = tirx.floormod(place, period)
    return tirx.Select(inside < size, inside, period - inside)


def _reverse_sequence(call: Call) -> relax.Expr:
    time, batch = call.attributes["time_axis"], call.attributes["batch_axis"]

    def compute(x: te.Tensor, lengths: te.Tensor) -> te.Tensor:
        def element(*indices: tirx.Expr) -> tirx.Expr:
            step, length = indices[time].astype("int64"), lengths(indices[batch]).astype("int64")
            place = clamped(tirx.Select(step < length, length - 1 - step, step), extents(x)[time])
            return x(*replaced(indices, time, place))

        return te.compute(extents(x), element)

    return call.kernel(compute, call.operand(0), call.operand(1), name="reverse_sequence")


def _tensor_scatter(call: Call) -> relax.Expr:
    data, update = call.operand(0), call.operand(1)
    shape = [int(it) for it in data.ty.shape.values]
    axis = call.attributes["axis"] % len(shape)
    circular = call.attributes["mode"] == "circular"
    starts = call.input(2)
    starts = constant(np.zeros(shape[0], np.int64)) if starts is None else starts

    def compute(x: te.Tensor, new: te.Tensor, first: te.Tensor) -> te.Tensor:
        count = extents(new)[axis]

        def element(*indices: tirx.Expr) -> tirx.Expr:
            place = indices[axis] - first(indices[0])
            place = tirx.floormod(place, shape[axis]) if circular else place
            inside = new(*replaced(indices, axis, clamped(place, count)))
            return tirx.if_then_else(within(place, count), inside, x(*indices))

        return te.compute(shape, element)

    return call.kernel(compute, data, update, starts, name="tensor_scatter")


def _one_hot(call: Call) -> relax.Expr:
    depth = int(_known(call, 1).reshape(-1)[0])
    indices_ = call.operand(0)
    rank = len(indices_.ty.shape.values) + 1
    axis = call.attributes["axis"] % rank

    def compute(at: te.Tensor, values: te.Tensor) -> te.Tensor:
        shape = extents(at)

        def element(*indices: tirx.Expr) -> tirx.Expr:
            chosen = at(*indices[:axis], *indices[axis + 1 :]).astype("int64")
            chosen = tirx.Select(chosen < 0, chosen + depth, chosen)
            return tirx.if_then_else(indices[axis] == chosen, values(1), values(0))

        return te.compute((*shape[:axis], depth, *shape[axis:]), element)

    return call.kernel(compute, indices_, call.operand(2), name="one_hot")


def _top_k(call: Call) -> list[relax.Expr]:
    """Each element's rank is the number of those before it; equal ones keep their order."""
    data = call.operand(0)
    shape = [int(it) for it in data.ty.shape.values]
    axis = call.attributes.get("axis", -1) % len(shape)
    count = int(_known(call, 1).reshape(-1)[0]) if call.node.opset >= _K_IS_INPUT else call.attributes["k"]
    largest = call.attributes.get("largest", 1)
    if shape[axis] > _LONGEST_SORT:
        raise Refusal(f"sorts {shape[axis]} elements, more than {_LONGEST_SORT}")

    def ranks(x: te.Tensor) -> te.Tensor:
        other = te.reduce_axis((0, shape[axis]), "other")

        def element(*indices: tirx.Expr) -> tirx.Expr:
            mine, its = x(*indices), x(*replaced(indices, axis, other))
            before = its > mine if largest else its < mine
            earlier = tirx.all(its == mine, other < indices[axis])
            return te.sum(tirx.any(before, earlier).astype("int32"), axis=other)

        return te.compute(shape, element)

    def places(rank: te.Tensor) -> te.Tensor:
        at = te.reduce_axis((0, shape[axis]), "at")

        def element(*indices: tirx.Expr) -> tirx.Expr:
            found = rank(*replaced(indices, axis, at)) == indices[axis].astype("int32")
            return te.max(tirx.Select(found, at, tirx.const(0, at.var.ty.dtype)).astype("int64"), axis=at)

        return te.compute([*shape[:axis], count, *shape[axis + 1 :]], element)

    def values(x: te.Tensor, place: te.Tensor) -> te.Tensor:
        return te.compute(extents(place), lambda *indices: x(*replaced(indices, axis, place(*indices))))

    chosen = call.kernel(places, call.kernel(ranks, data, name="ranks"), name="top_k_places")
    return [call.kernel(values, data, chosen, name="top_k"), chosen]


def _known(call: Call, index: int) -> np.ndarray:
    call.operand(index)
    value = call.value(index)
    assert value is not None
    return value


_PADS_ARE_INPUTS = 11
_K_IS_INPUT = 10

CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "OneHot"): _one_hot,
    ("", "Pad"): _pad,
    ("", "ReverseSequence"): _reverse_sequence,
    ("", "TensorScatter"): _tensor_scatter,
    ("", "TopK"): _top_k,
}
