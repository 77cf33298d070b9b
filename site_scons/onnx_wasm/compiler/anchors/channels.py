"""Kernels that treat every channel alike and none with another: pooling, means over pixels.

Each is one block ``channels`` that accumulates a run of neighbouring channels in registers, and a block that writes
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import te, tirx

from onnx_wasm.compiler.anchors.gemm import Window

CHANNELS = "channels"


@dataclass(frozen=True)
class Pool:
    """A pooling window, in (height, width).

    Args:
        kind: ``max`` or ``average``.
        extents: The window's.
        window: Its output, strides and dilation.
        padding: What is added before.
        count_padding: Whether padding counts in an average.
    """

    kind: str
    extents: tuple[int, int]
    window: Window
    padding: tuple[int, int]
    count_padding: bool


def pool(x: te.Tensor, how: Pool) -> te.Tensor:
    """The largest or mean element under a window over ``x`` [N, H, W, C]: [N·OH·OW, C]."""
    batch, height, width, channels = (int(extent) for extent in x.shape)
    taps = [te.reduce_axis((0, extent), name) for extent, name in zip(how.extents, ("kh", "kw"), strict=True)]
    rows = batch * how.window.out[0] * how.window.out[1]
    dtype = x.dtype
    outside = tirx.min_value(dtype) if how.kind == "max" else tirx.const(0, dtype)
    reaches = [
        (out - 1) * stride + (extent - 1) * dilation - before
        for out, stride, dilation, extent, before in zip(
            how.window.out, how.window.strides, how.window.dilation, how.extents, how.padding, strict=True
        )
    ]
    inside = how.padding == (0, 0) and reaches[0] < height and reaches[1] < width

    def value(row: tirx.Expr, channel: tirx.Expr) -> tirx.Expr:
        image, at_height, at_width = _at(row, how.window, taps, how.padding)
        element = x[image, at_height, at_width, channel]
        if inside:
            return element
        known = tirx.all(at_height >= 0, at_height < height, at_width >= 0, at_width < width)
        return tirx.if_then_else(known, element, outside)

    reduce = te.max if how.kind == "max" else te.sum
    total = te.compute((rows, channels), lambda row, channel: reduce(value(row, channel), axis=taps), name=CHANNELS)
    if how.kind == "max":
        return te.compute((rows, channels), lambda row, channel: total[row, channel], name="written")
    if how.count_padding or inside:
        share = tirx.const(1.0 / (how.extents[0] * how.extents[1]), dtype)
        return te.compute((rows, channels), lambda row, channel: total[row, channel] * share, name="written")

    def count(row: tirx.Expr) -> tirx.Expr:
        _, top, left = _at(row, how.window, (0, 0), how.padding)
        tall = tirx.min(top + how.extents[0], height) - tirx.max(top, 0)
        wide = tirx.min(left + how.extents[1], width) - tirx.max(left, 0)
        return (tall * wide).astype(dtype)

    return te.compute((rows, channels), lambda row, channel: total[row, channel] / count(row), name="written")


def mean(x: te.Tensor, batch: int) -> te.Tensor:
    """The mean of each channel over an image's pixels: ``x`` [batch·H·W, C] becomes [batch, C]."""
    rows, channels = (int(extent) for extent in x.shape)
    pixels = rows // batch
    k = te.reduce_axis((0, pixels), "k")
    total = te.compute(
        (batch, channels), lambda image, channel: te.sum(x[image * pixels + k, channel], axis=[k]), name=CHANNELS
    )
    share = tirx.const(1.0 / pixels, x.dtype)
    return te.compute((batch, channels), lambda image, channel: total[image, channel] * share, name="written")


def _at(
    row: tirx.Expr, window: Window, taps: Sequence[Any], padding: tuple[int, int]
) -> tuple[tirx.Expr, tirx.Expr, tirx.Expr]:
    """Where a tap of the window for an output row stands in the input."""
    height, width = window.out
    pixel = row % (height * width)
    at_height = (pixel // width) * window.strides[0] + taps[0] * window.dilation[0] - padding[0]
    at_width = (pixel % width) * window.strides[1] + taps[1] * window.dilation[1] - padding[1]
    return row // (height * width), at_height, at_width
