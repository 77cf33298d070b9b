"""Kernels that write element after element: sums along an axis, and scattered updates."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from tvm import relax, te, tirx
from tvm.script.ir_builder import tirx as T  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.loops import in_order
from onnx_wasm.compiler.frontend.refusal import Refusal


def _cumulative(combine: Callable[[tirx.Expr, tirx.Expr], tirx.Expr], identity: int) -> Converter:
    def convert(call: Call) -> relax.Expr:
        data, axis = call.operand(0), call.value(1)
        shape = [int(it) for it in data.ty.shape.values]
        if axis is None:
            raise Refusal("lacks its axis", "export the model again")
        at = int(axis.reshape(-1)[0]) % len(shape)
        inner, length, outer = math.prod(shape[at + 1 :]), shape[at], math.prod(shape[:at])
        exclusive, backwards = call.attributes["exclusive"], call.attributes["reverse"]
        dtype = str(data.ty.dtype)

        def write(x: Any, y: Any) -> None:
            with T.serial(0, outer) as i, T.serial(0, inner) as j:
                base = i * (length * inner) + j
                first = base + ((length - 1) * inner if backwards else 0)
                y[first] = tirx.const(identity, dtype) if exclusive else x[first]
                with T.serial(0, length - 1) as k:
                    step = length - 2 - k if backwards else k + 1
                    here = base + step * inner
                    before = here + inner if backwards else here - inner
                    y[here] = combine(y[before], x[before if exclusive else here])

        return call.kernel(lambda x: in_order([(shape, dtype)], write, x), data)

    return convert


_REDUCTIONS: dict[str, Callable[[tirx.Expr, tirx.Expr], tirx.Expr]] = {
    "none": lambda _, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": tirx.max,
    "min": tirx.min,
}


def _reduction(call: Call, dtype: str) -> Callable[[tirx.Expr, tirx.Expr], tirx.Expr]:
    name = call.attributes.get("reduction", "none")
    if name not in _REDUCTIONS or (dtype == "bool" and name != "none"):
        raise Refusal(f'has the reduction "{name}" of {dtype}')
    return _REDUCTIONS[name]


def _scatter_elements(call: Call) -> relax.Expr:
    data, indices, updates = (call.operand(index) for index in range(3))
    shape, counts = ([int(it) for it in operand.ty.shape.values] for operand in (data, indices))
    axis = call.attributes["axis"] % len(shape)
    dtype = str(data.ty.dtype)
    combine = _reduction(call, dtype)
    steps = _steps(shape)

    def write(_: Any, at: Any, new: Any, y: Any) -> None:
        with T.serial(0, math.prod(counts)) as i:
            place: Any = 0
            for dimension, (step, own) in enumerate(zip(steps, _steps(counts), strict=True)):
                index = at[i] if dimension == axis else i // own % counts[dimension]
                index = _wrapped(index, shape[axis]) if dimension == axis else index
                place = place + index.astype("int64") * step
            _checked(y, place, combine, new[i], at[i], shape[axis])

    return call.kernel(_copying(shape, dtype, write), data, indices, updates, name="scatter_elements")


def _scatter_nd(call: Call) -> relax.Expr:
    data, indices, updates = (call.operand(index) for index in range(3))
    shape, counts = ([int(it) for it in operand.ty.shape.values] for operand in (data, indices))
    depth = counts[-1]
    dtype = str(data.ty.dtype)
    combine = _reduction(call, dtype)
    steps, slice_ = _steps(shape), math.prod(shape[depth:])

    def write(_: Any, at: Any, new: Any, y: Any) -> None:
        with T.serial(0, math.prod(counts[:-1])) as i, T.serial(0, slice_) as j:
            place: Any = j.astype("int64")
            valid: Any = tirx.const(True, "bool")
            for dimension in range(depth):
                index = at[i * depth + dimension]
                valid = tirx.all(valid, index >= -shape[dimension], index < shape[dimension])
                place = place + _wrapped(index, shape[dimension]).astype("int64") * steps[dimension]
            with T.If(valid), T.Then():
                y[place] = combine(y[place], new[i * slice_ + j])

    return call.kernel(_copying(shape, dtype, write), data, indices, updates, name="scatter_nd")


def _copying(shape: Sequence[int], dtype: str, write: Callable[..., None]) -> Callable[..., te.Tensor]:
    """A kernel that changes a copy of its first operand."""

    def whole(*buffers: Any) -> None:
        with T.serial(0, math.prod(shape)) as i:
            buffers[-1][i] = buffers[0][i]
        write(*buffers)

    return lambda *tensors: in_order([(shape, dtype)], whole, *tensors)


def _checked(y: Any, place: Any, combine: Callable[..., Any], new: Any, index: Any, extent: int) -> None:
    """Writes an element unless its index is none of the dimension: memory stays whole whatever a run is given."""
    with T.If(tirx.all(index >= -extent, index < extent)), T.Then():
        y[place] = combine(y[place], new)


def _wrapped(index: tirx.Expr, extent: int) -> tirx.Expr:
    """Indices below zero count from the end."""
    return tirx.Select(index < 0, index + extent, index)


def _steps(shape: Sequence[int]) -> list[int]:
    return [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]


def _max_unpool(call: Call) -> relax.Expr:
    """The indices count within the smallest tensor that the pooling may have come from."""
    data, indices, type_ = call.operand(0), call.operand(1), call.types[0]
    if type_ is None:
        raise Refusal("makes a tensor whose shape is not known")
    shape = [int(it) for it in data.ty.shape.values]
    attributes, rank = call.attributes, len(shape) - 2
    strides, pads = attributes.get("strides") or [1] * rank, attributes.get("pads") or [0] * 2 * rank
    counted = [
        (shape[axis + 2] - 1) * strides[axis] - pads[axis] - pads[axis + rank] + attributes["kernel_shape"][axis]
        for axis in range(rank)
    ]
    given = _steps([*shape[:2], *counted])
    steps, sizes = _steps(type_.shape), [*shape[:2], *counted]
    total, dtype = math.prod(type_.shape), type_.dtype

    def write(x: Any, at: Any, y: Any) -> None:
        with T.serial(0, total) as i:
            y[i] = tirx.const(0, dtype)
        with T.serial(0, math.prod(shape)) as i:
            index = at[i]
            place: Any = tirx.const(0, "int64")
            for step, size, new in zip(given, sizes, steps, strict=True):
                place = place + index // step % size * new
            with T.If(tirx.all(index >= 0, index < math.prod(sizes))), T.Then():
                y[place] = x[i]

    return call.kernel(lambda *it: in_order([(type_.shape, dtype)], write, *it), data, indices, name="max_unpool")


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "CumProd"): _cumulative(lambda x, y: x * y, 1),
    ("", "CumSum"): _cumulative(lambda x, y: x + y, 0),
    ("", "MaxUnpool"): _max_unpool,
    ("", "ScatterElements"): _scatter_elements,
    ("", "ScatterND"): _scatter_nd,
}
