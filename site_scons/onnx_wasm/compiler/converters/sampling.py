"""Pictures read at places that a run computes: GridSample, and RoiAlign's maximum."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from tvm import relax, te, tirx
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import clamped, extents, within
from onnx_wasm.compiler.converters.tvm_own import tvm_convert
from onnx_wasm.compiler.frontend.refusal import Refusal

_CUBIC = -0.75


def _grid_sample(call: Call) -> relax.Expr:
    attributes = call.attributes
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(attributes["mode"], attributes["mode"])
    padding, corners = attributes["padding_mode"], bool(attributes["align_corners"])
    if mode not in ("nearest", "linear", "cubic") or padding not in ("zeros", "border", "reflection"):
        raise Refusal(f'has mode "{mode}" and padding "{padding}"')
    places = call.kernel(_places(call, mode, padding, corners), call.operand(1), name="grid_places", alone=True)
    return call.kernel(_sampler(mode, padding, corners), call.operand(0), places)


def _places(call: Call, mode: str, padding: str, corners: bool) -> Callable[[te.Tensor], te.Tensor]:
    """The places in pixels; a kernel of its own, because each is used many times."""
    sizes = [int(it) for it in call.operand(0).ty.shape.values[2:]]

    def compute(grid: te.Tensor) -> te.Tensor:
        def element(*indices: tirx.Expr) -> tirx.Expr:
            *at, axis = indices
            result: Any = None
            for own, size in enumerate(sizes):
                place = _place(grid(*at, len(sizes) - 1 - own), size, corners)
                place = tirx.nearbyint(place) if mode == "nearest" else place
                place = _inside(place, size, padding, corners)
                result = place if result is None else tirx.Select(axis == own, place, result)
            return result

        return te.compute(extents(grid), element)

    return compute


def _sampler(mode: str, padding: str, corners: bool) -> Callable[..., te.Tensor]:
    def compute(x: te.Tensor, places: te.Tensor) -> te.Tensor:
        batch, channels, *sizes = extents(x)

        def element(*indices: tirx.Expr) -> tirx.Expr:
            n, c, *at = indices
            total: Any = None
            choices = [_neighbours(places(n, *at, axis), mode) for axis in range(len(sizes))]
            for neighbours in itertools.product(*choices):
                value = _pixel(x, (n, c), [index for index, _ in neighbours], sizes, padding, corners)
                for _, weight in neighbours:
                    value = value if weight is None else value * weight.astype(x.dtype)
                total = value if total is None else total + value
            return total

        return te.compute((batch, channels, *extents(places)[1:-1]), element)

    return compute


def _place(x: tirx.Expr, size: int, corners: bool) -> tirx.Expr:
    """From −1 … 1 to the pixels of an axis."""
    return (x + 1) / 2 * (size - 1) if corners else ((x + 1) * size - 1) / 2


def _inside(place: tirx.Expr, size: int, padding: str, corners: bool) -> tirx.Expr:
    if padding == "border":
        return tirx.max(tirx.min(place, tirx.const(size - 1, place.ty.dtype)), tirx.const(0, place.ty.dtype))
    return _reflected(place, size, corners) if padding == "reflection" else place


def _reflected(place: tirx.Expr, size: int, corners: bool) -> tirx.Expr:
    """A place beyond the border, mirrored at it as often as need be."""
    low, high = (0.0, size - 1.0) if corners else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return place * 0
    beyond = tirx.max(low - place, place - high)
    times = tirx.floor(beyond / span)
    rest = beyond - times * span
    even = tirx.floor(times / 2) * 2 == times
    below = tirx.Select(even, low + rest, high - rest)
    above = tirx.Select(even, high - rest, low + rest)
    return tirx.Select(place < low, below, tirx.Select(place > high, above, place))


def _neighbours(place: tirx.Expr, mode: str) -> list[tuple[tirx.Expr, tirx.Expr | None]]:
    """The pixels that a place is made of, and by how much; no weight means whole."""
    if mode == "nearest":
        return [(place.astype("int32"), None)]
    first = tirx.floor(place)
    ratio = place - first
    index = first.astype("int32")
    if mode == "linear":
        return [(index, 1 - ratio), (index + 1, ratio)]
    return [(index + offset, _cubic(ratio, offset)) for offset in (-1, 0, 1, 2)]


def _cubic(ratio: tirx.Expr, offset: int) -> tirx.Expr:
    x = {-1: ratio + 1, 0: ratio, 1: 1 - ratio, 2: 2 - ratio}[offset]
    if offset in (0, 1):
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1
    return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC


def _pixel(
    x: te.Tensor,
    outer: Sequence[tirx.Expr],
    indices: Sequence[tirx.Expr],
    sizes: Sequence[int],
    padding: str,
    corners: bool,
) -> tirx.Expr:
    if padding == "reflection":
        indices = [
            _reflected(index.astype("float32"), size, corners).astype("int32")
            for index, size in zip(indices, sizes, strict=True)
        ]
    value = x(*outer, *(clamped(index, size) for index, size in zip(indices, sizes, strict=True)))
    if padding != "zeros":
        return value
    valid = tirx.all(*(within(index, size) for index, size in zip(indices, sizes, strict=True)))
    return tirx.if_then_else(valid, value, tirx.const(0, x.dtype))


def _roi_align(call: Call) -> relax.Expr:
    """The average is TVM's; of the maximum, ONNX takes the greatest weighted neighbour."""
    attributes = call.attributes
    if attributes["mode"] == "avg":
        last = constant(np.array(call.operand(0).ty.shape.values[0] - 1, str(call.operand(2).ty.dtype)))
        picture = call.emit(relax.op.maximum(call.emit(relax.op.minimum(call.operand(2), last)), _zero(last)))
        return tvm_convert(replace(call, inputs=(*call.inputs[:2], picture)))  # of the pictures that there are
    if attributes["sampling_ratio"] <= 0:
        raise Refusal("takes a maximum over as many samples as only a run knows", "set its sampling_ratio")
    return call.kernel(_roi_maximum(call), *(call.operand(index) for index in range(3)))


def _zero(like: GenericConst) -> GenericConst:
    return constant(np.zeros_like(like.value.numpy()))


def _roi_maximum(call: Call) -> Callable[..., te.Tensor]:
    attributes = call.attributes
    ratio, scale = attributes["sampling_ratio"], attributes["spatial_scale"]
    shape = (attributes["output_height"], attributes["output_width"])
    half = call.attributes.get("coordinate_transformation_mode", "output_half_pixel") == "half_pixel"

    def compute(x: te.Tensor, rois: te.Tensor, batches: te.Tensor) -> te.Tensor:
        channels, *sizes = extents(x)[1:]
        samples = [te.reduce_axis((0, ratio), name) for name in ("iy", "ix")]

        def element(roi: tirx.Expr, channel: tirx.Expr, *cell: tirx.Expr) -> tirx.Expr:
            sides, inside = [], []
            for axis in range(2):
                start = rois(roi, 1 - axis) * scale - (0.5 if half else 0.0)
                size = rois(roi, 3 - axis) * scale - (0.5 if half else 0.0) - start
                size = (size if half else tirx.max(size, tirx.const(1.0, x.dtype))) / shape[axis]
                place = start + cell[axis] * size + (samples[axis] + 0.5) * size / ratio
                inside.append(tirx.all(place >= -1.0, place <= float(sizes[axis])))
                place = tirx.max(place, tirx.const(0, x.dtype))
                low = tirx.min(place.astype("int32"), sizes[axis] - 1)
                last = low >= sizes[axis] - 1
                part = tirx.Select(last, tirx.const(0, x.dtype), place - low.astype(x.dtype))
                sides.append([(low, 1 - part), (tirx.Select(last, low, low + 1), part)])
            picture = clamped(batches(roi).astype("int32"), int(x.shape[0]))
            corners = itertools.product(*sides)
            values = [x(picture, channel, y, z) * (of_y * of_z) for (y, of_y), (z, of_z) in corners]
            greatest = values[0]
            for value in values[1:]:
                greatest = tirx.max(greatest, value)
            return te.max(tirx.if_then_else(tirx.all(*inside), greatest, tirx.const(0, x.dtype)), axis=samples)

        return te.compute((int(rois.shape[0]), channels, *shape), element)

    return compute


CONVERTERS: dict[tuple[str, str], Converter] = {("", "GridSample"): _grid_sample, ("", "RoiAlign"): _roi_align}
