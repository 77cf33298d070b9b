"""Windows that slide over a tensor of any rank: pooling, Col2Im.

Where TVM has an operator for the case, as for the pooling of pictures, that is what it becomes: later passes know it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import extents, within
from onnx_wasm.compiler.converters.tvm_own import tvm_convert
from onnx_wasm.compiler.frontend.refusal import Refusal

_HALF, _THREE_QUARTERS = 0.5, 0.75


@dataclass(frozen=True)
class Window:
    """How a window slides over the dimensions behind batch and channels.

    Args:
        sizes: Of the window.
        strides: By how much it moves.
        dilations: The distance of its elements.
        before: How far the first window begins before the tensor.
        after: How far the tensor is padded behind.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]

    @staticmethod
    def of(call: Call, sizes: Sequence[int], shape: Sequence[int]) -> Window:
        """The window of a node's attributes.

        Args:
            call: The node.
            sizes: Of the window.
            shape: Of the operand, batch and channels included.
        """
        attributes, rank = call.attributes, len(sizes)
        strides = attributes.get("strides") or [1] * rank
        dilations = attributes.get("dilations") or [1] * rank
        pads = attributes.get("pads") or [0] * (2 * rank)
        before, after = list(pads[:rank]), list(pads[rank:])
        how = attributes.get("auto_pad", "NOTSET")
        if how == "VALID":
            before, after = [0] * rank, [0] * rank
        elif how in ("SAME_UPPER", "SAME_LOWER"):
            for axis, (size, extent) in enumerate(zip(sizes, shape[2:], strict=True)):
                steps = -(-extent // strides[axis])
                total = max((steps - 1) * strides[axis] + (size - 1) * dilations[axis] + 1 - extent, 0)
                before[axis] = total // 2 if how == "SAME_UPPER" else total - total // 2
                after[axis] = total - before[axis]
        elif how != "NOTSET":
            raise Refusal(f'has the auto_pad "{how}"')
        return Window(tuple(sizes), tuple(strides), tuple(dilations), tuple(before), tuple(after))

    def axes(self) -> list[te.IterVar]:
        """Reduction axes over its elements."""
        return [te.reduce_axis((0, size), f"k{axis}") for axis, size in enumerate(self.sizes)]

    def places(self, at: Sequence[Any], elements: Sequence[Any]) -> list[Any]:
        """Where elements of the window stand in the tensor."""
        return [
            index * stride + element * dilation - before
            for index, element, stride, dilation, before in zip(
                at, elements, self.strides, self.dilations, self.before, strict=True
            )
        ]


def shape_of(expression: relax.Expr) -> list[int]:
    """A tensor's extents."""
    return [int(it) for it in expression.ty.shape.values]


def result_of(call: Call) -> tuple[int, ...]:
    """The extents of what a node makes."""
    type_ = call.types[0]
    if type_ is None:
        raise Refusal("makes a tensor whose shape is not known")
    return type_.shape


def _max_pool(call: Call) -> relax.Expr | list[relax.Expr]:
    if not any(call.node.proto.output[1:]):
        return tvm_convert(call)
    data, shape = call.operand(0), result_of(call)
    window = Window.of(call, call.attributes["kernel_shape"], shape_of(data))
    columns_first = bool(call.attributes.get("storage_order", 0))

    def compute(x: te.Tensor) -> Sequence[te.Tensor]:
        sizes = extents(x)
        spatial = sizes[2:]
        steps = [math.prod(spatial[axis + 1 :]) for axis in range(len(spatial))]
        if columns_first:
            steps = [math.prod(spatial[:axis]) for axis in range(len(spatial))]
        axes = window.axes()

        def element(n: tirx.Expr, c: tirx.Expr, *at: tirx.Expr) -> tuple[tirx.Expr, tirx.Expr]:
            places = window.places(at, axes)
            valid = tirx.all(*(within(place, size) for place, size in zip(places, spatial, strict=True)))
            place: Any = (n * sizes[1] + c).astype("int64") * math.prod(spatial)
            for index, step in zip(places, steps, strict=True):
                place = place + index.astype("int64") * step
            lowest = te.min_value(x.dtype)
            return (
                tirx.if_then_else(valid, place, _nowhere()),
                tirx.if_then_else(valid, x(n, c, *places), lowest),
            )

        greatest = te.comm_reducer(_greater, lambda _, dtype: (_nowhere(), te.min_value(dtype)), "greatest")
        made: Sequence[te.Tensor] = te.compute(shape, lambda *indices: greatest(element(*indices), axis=axes))
        return made

    places, values = _two(call, compute, data)
    return [values, places]


def _nowhere() -> tirx.Expr:
    return tirx.const(2**62, "int64")


def _two(call: Call, compute: Callable[..., Any], data: relax.Expr) -> tuple[relax.Expr, relax.Expr]:
    both = call.kernel(compute, data)
    return call.emit(relax.TupleGetItem(both, 0)), call.emit(relax.TupleGetItem(both, 1))


def _greater(left: Sequence[tirx.Expr], right: Sequence[tirx.Expr]) -> tuple[tirx.Expr, tirx.Expr]:
    """Of two elements and their places the greater one, of equal ones the first."""
    first = tirx.any(left[1] > right[1], tirx.all(left[1] == right[1], left[0] < right[0]))
    return tirx.Select(first, left[0], right[0]), tirx.Select(first, left[1], right[1])


def _response_norm(call: Call) -> relax.Expr:
    """Over neighbouring channels; of an even number of them the one more is behind."""
    attributes, data, shape = call.attributes, call.operand(0), shape_of(call.operand(0))
    size, dtype = attributes["size"], str(data.ty.dtype)
    factor, bias, exponent = attributes["alpha"] / size, attributes["bias"], attributes["beta"]

    def constant_of(value: float) -> relax.Expr:
        return constant(np.array(value, dtype))

    squares = call.emit(relax.op.multiply(data, data))
    before, after = (min(it, shape[1] - 1) for it in ((size - 1) // 2, size // 2))
    padded = call.emit(relax.op.nn.pad(squares, [0, 0, before, after, *[0, 0] * (len(shape) - 2)]))
    beside = [call.emit(relax.op.strided_slice(padded, [1], [at], [at + shape[1]])) for at in range(before + 1 + after)]
    total = functools.reduce(lambda sum_, it: call.emit(relax.op.add(sum_, it)), beside)
    scale = call.emit(relax.op.add(constant_of(bias), call.emit(relax.op.multiply(constant_of(factor), total))))
    return relax.op.divide(data, _power(call, scale, exponent))


def _power(call: Call, x: relax.Expr, exponent: float) -> relax.Expr:
    """Of the exponents that models have by roots, which are exact."""
    if exponent not in (_HALF, _THREE_QUARTERS):
        return call.emit(relax.op.power(x, constant(np.array(exponent, str(x.ty.dtype)))))
    root = call.emit(relax.op.sqrt(x))
    return root if exponent == _HALF else call.emit(relax.op.multiply(root, call.emit(relax.op.sqrt(root))))


def _col2im(call: Call) -> relax.Expr:
    data, result = call.operand(0), result_of(call)
    block = call.value(2)
    assert block is not None
    sizes = [int(it) for it in block]
    window = Window.of(call, sizes, result)
    steps = [
        (extent + first + last - dilation * (size - 1) - 1) // stride + 1
        for extent, first, last, dilation, size, stride in zip(
            result[2:], window.before, window.after, window.dilations, window.sizes, window.strides, strict=True
        )
    ]

    def compute(x: te.Tensor) -> te.Tensor:
        axes = window.axes()

        def element(n: tirx.Expr, c: tirx.Expr, *at: tirx.Expr) -> tirx.Expr:
            spread = [
                index + first - axis * dilation
                for index, first, axis, dilation in zip(at, window.before, axes, window.dilations, strict=True)
            ]
            places = [tirx.floordiv(it, stride) for it, stride in zip(spread, window.strides, strict=True)]
            whole = [tirx.floormod(it, stride) == 0 for it, stride in zip(spread, window.strides, strict=True)]
            valid = tirx.all(*whole, *(within(it, count) for it, count in zip(places, steps, strict=True)))
            row: Any = c
            for axis, size in zip(axes, window.sizes, strict=True):
                row = row * size + axis
            column: Any = 0
            for place, count in zip(places, steps, strict=True):
                column = column * count + place
            return te.sum(tirx.if_then_else(valid, x(n, row, column), tirx.const(0, x.dtype)), axis=axes)

        return te.compute(result, element)

    return call.kernel(compute, data)


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "Col2Im"): _col2im,
    ("", "LRN"): _response_norm,
    ("", "MaxPool"): _max_pool,
}
