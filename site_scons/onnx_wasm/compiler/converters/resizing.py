"""Resize in every mode: along each axis, every element is a sum of a few, whose places and weights are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.indexing import replaced
from onnx_wasm.compiler.frontend.refusal import Refusal

_UNROLLED = 8


@dataclass(frozen=True)
class Taps:
    """How one axis is resized.

    Args:
        places: For each new element those of the old that it is made of, int32 [new, taps].
        weights: By how much, float64 [new, taps].
        outside: What is added: the extrapolation value where the weights are zero, float64 [new].
    """

    places: np.ndarray
    weights: np.ndarray
    outside: np.ndarray


def _resize(call: Call) -> relax.Expr:
    attributes = call.attributes
    data = call.operand(0)
    old = [int(it) for it in data.ty.shape.values]
    type_ = call.types[0]
    if type_ is None or 0 in type_.shape:
        raise Refusal("its result has no elements")
    new = type_.shape
    if attributes["mode"] not in ("nearest", "linear", "cubic"):
        raise Refusal(f'has the mode "{attributes["mode"]}"')
    scales, regions = _scales(call, old, new)
    axes = [axis for axis in range(len(old)) if not _is_identity(axis, old, new, scales, regions, attributes)]
    for axis in axes:
        taps = _taps(old[axis], new[axis], scales[axis], regions[axis], attributes)
        data = _along(call, data, axis, taps, weighted=attributes["mode"] != "nearest")
    return data if str(data.ty.dtype) == type_.dtype else call.emit(relax.op.astype(data, type_.dtype))


def _scales(call: Call, old: Sequence[int], new: Sequence[int]) -> tuple[list[float], list[tuple[float, float]]]:
    """Each axis' factor, and the part of it that is taken, from 0 to 1."""
    attributes, rank = call.attributes, len(old)
    axes = [it % rank for it in attributes.get("axes") or range(rank)]
    first = call.node.opset < _WITH_REGION
    region = None if first else call.value(1)
    given = call.value(1 if first else 2)
    sizes = None if first else call.value(3)
    scales, regions = [1.0] * rank, [(0.0, 1.0)] * rank
    if given is not None and given.size:
        wanted = [float(it) for it in given]
    elif sizes is not None:
        wanted = [int(size) / old[axis] for size, axis in zip(sizes, axes, strict=True)]
        policy = attributes.get("keep_aspect_ratio_policy", "stretch")
        if policy != "stretch":
            wanted = [min(wanted) if policy == "not_larger" else max(wanted)] * len(wanted)
    else:
        wanted = [new[axis] / old[axis] for axis in axes]
    for axis, scale in zip(axes, wanted, strict=True):
        scales[axis] = scale
    if region is not None and region.size:
        for axis, start, end in zip(axes, region[: len(axes)], region[len(axes) :], strict=True):
            regions[axis] = (float(start), float(end))
    return scales, regions


def _is_identity(
    axis: int,
    old: Sequence[int],
    new: Sequence[int],
    scales: Sequence[float],
    regions: Sequence[tuple[float, float]],
    attributes: dict[str, Any],
) -> bool:
    cropped = attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize" and regions[axis] != (0.0, 1.0)
    return old[axis] == new[axis] and scales[axis] == 1 and not cropped


def _taps(old: int, new: int, scale: float, region: tuple[float, float], attributes: dict[str, Any]) -> Taps:
    places = _sources(old, new, scale, region, attributes.get("coordinate_transformation_mode", "asymmetric"))
    left = np.ceil(places).astype(np.int64) - 1  # the neighbour on the left, never the place itself
    ratio = places - left
    weights = _weights(ratio, scale, attributes)
    count = weights.shape[1]
    taps = left[:, None] - count // 2 + 1 + np.arange(count)
    if attributes.get("exclude_outside"):
        weights = np.where((taps >= 0) & (taps < old), weights, 0)
        weights = weights / weights.sum(axis=1, keepdims=True)
    outside = np.zeros(new)
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        off = (places < 0) | (places > old - 1)
        weights = np.where(off[:, None], 0, weights)
        outside = np.where(off, attributes["extrapolation_value"], 0)
    return Taps(np.clip(taps, 0, old - 1).astype(np.int32), weights, outside)


def _sources(old: int, new: int, scale: float, region: tuple[float, float], mode: str) -> np.ndarray:
    """Where in the old axis each new element lies."""
    x = np.arange(new, dtype=np.float64)
    width = scale * old
    match mode:
        case "align_corners":
            return x * (old - 1) / (width - 1) if width != 1 else np.zeros(new)
        case "asymmetric":
            return x / scale
        case "tf_crop_and_resize":
            start, end = region
            span = (end - start) * (old - 1)
            inside = x * span / (width - 1) if width != 1 else np.full(new, span / 2)
            return inside + start * (old - 1)
        case "pytorch_half_pixel":
            return (x + 0.5) / scale - 0.5 if width != 1 else np.full(new, -0.5)
        case "half_pixel":
            return (x + 0.5) / scale - 0.5
        case "half_pixel_symmetric":
            return old / 2 * (1 - new / width) + (x + 0.5) / scale - 0.5
        case _:
            raise Refusal(f'has the coordinate transformation "{mode}"')


def _weights(ratio: np.ndarray, scale: float, attributes: dict[str, Any]) -> np.ndarray:
    """The weights of the neighbours of places, by their distance from the neighbour on the left, from 0 to 1."""
    mode = attributes["mode"]
    if mode == "nearest":
        return _nearest(ratio, attributes.get("nearest_mode", "floor"))
    shrunk = min(scale, 1.0) if attributes.get("antialias") else 1.0
    reach = {"linear": 1, "cubic": 2}[mode]
    first = math.floor(-reach / shrunk) + 1
    distance = (np.arange(first, 2 - first) - ratio[:, None]) * shrunk
    weights: np.ndarray
    if mode == "linear":
        weights = np.clip(1 - np.abs(distance), 0, 1)
    else:
        weights = _cubic(np.abs(distance), attributes.get("cubic_coeff_a", -0.75))
    if shrunk < 1:
        weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


def _nearest(ratio: np.ndarray, mode: str) -> np.ndarray:
    """Which of both neighbours is taken."""
    match mode:
        case "round_prefer_floor":
            right = ratio > 0.5
        case "round_prefer_ceil":
            right = ratio >= 0.5
        case "floor":
            right = ratio == 1
        case "ceil":
            right = np.full(ratio.shape, True)
        case _:
            raise Refusal(f'has the nearest mode "{mode}"')
    return np.stack([~right, right], axis=1).astype(np.float64)


def _along(call: Call, data: relax.Expr, axis: int, taps: Taps, *, weighted: bool) -> relax.Expr:
    """Resizes one axis."""
    shape = [int(it) for it in data.ty.shape.values]
    shape[axis] = len(taps.places)
    if not weighted and not taps.outside.any():
        chosen = np.take_along_axis(taps.places, taps.weights.argmax(axis=1)[:, None], axis=1)[:, 0]
        return call.kernel(_gather(shape, axis, chosen), data, constant(chosen), name="resize_nearest")
    dtype = "float64" if str(data.ty.dtype) == "float64" else "float32"
    used = np.flatnonzero(taps.weights.any(axis=0))
    places, weights = taps.places[:, used], taps.weights[:, used].astype(dtype)
    constants = [constant(np.ascontiguousarray(it)) for it in (places, weights, taps.outside.astype(dtype))]
    return call.kernel(_weighted(shape, axis, dtype, bool(taps.outside.any())), data, *constants, name="resize")


def _gather(shape: Sequence[int], axis: int, chosen: np.ndarray) -> Callable[..., te.Tensor]:
    times = len(chosen) // (int(chosen.max()) + 1) if len(chosen) else 1
    regular = np.array_equal(chosen, np.arange(len(chosen)) // times)

    def compute(x: te.Tensor, places: te.Tensor) -> te.Tensor:
        def element(*indices: tirx.Expr) -> tirx.Expr:
            place = indices[axis] // times if regular else places(indices[axis])
            return x(*replaced(indices, axis, place))

        return te.compute(shape, element)

    return compute


def _weighted(shape: Sequence[int], axis: int, dtype: str, outside: bool) -> Callable[..., te.Tensor]:
    def compute(x: te.Tensor, places: te.Tensor, weights: te.Tensor, beside: te.Tensor) -> te.Tensor:
        count = int(places.shape[1])

        def product(indices: Sequence[tirx.Expr], tap: Any) -> tirx.Expr:
            value = x(*replaced(indices, axis, places(indices[axis], tap)))
            return value.astype(dtype) * weights(indices[axis], tap)

        def element(*indices: tirx.Expr) -> tirx.Expr:
            total = product(indices, 0)
            for tap in range(1, count):
                total = total + product(indices, tap)
            return total + beside(indices[axis]) if outside else total

        if count <= _UNROLLED:
            return te.compute(shape, element)
        tap = te.reduce_axis((0, count), "tap")
        total = te.compute(shape, lambda *indices: te.sum(product(indices, tap), axis=tap))
        return te.compute(shape, lambda *i: total(*i) + beside(i[axis])) if outside else total

    return compute


_WITH_REGION = 11

CONVERTERS: dict[tuple[str, str], Converter] = {("", "Resize"): _resize}
