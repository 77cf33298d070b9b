"""Matrix products on weights packed at compile time: dense layers, 1×1 and k×k convolutions, batched products.

All of them are one block ``gemm`` that accumulates a tile of ``rows`` × ``columns`` results in registers, and a block
that writes them. Weights are packed in panels of ``columns``, so that the innermost loop reads them in sequence (Goto
and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). What is multiplied is float32, or integers
as ``integers`` has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import te, tirx

from onnx_wasm.compiler.anchors.integers import term as term_of
from onnx_wasm.compiler.targets import has_fused, has_vectors
from onnx_wasm.tuning import Tile

GEMM = "gemm"

# By width, the height of a tile and its speed, as a share of the quickest's: vectors as measured in V8 on Zen 4,
# scalars in instructions. Products that are not fused with their sums need registers too: with them, 3 × 12 is half as
# quick.
_VECTORS = {16: (2, 1.0), 12: (2, 0.95), 8: (4, 0.97), 4: (7, 0.75)}
_VECTORS_OF_A_ROW = {24: (1, 1.0), 20: (1, 0.88), 16: (1, 0.78), 12: (1, 0.65), 8: (1, 0.45), 4: (1, 0.23)}
_SCALARS = {16: (2, 0.94), 12: (3, 0.9), 8: (4, 1.0), 4: (7, 0.99)}
_SCALARS_OF_A_ROW = {32: (1, 1.0), 24: (1, 0.99), 16: (1, 0.97), 12: (1, 0.96), 8: (1, 0.93), 4: (1, 0.85)}
# Bytes have to be made wider, which tall tiles do more seldom.
_VECTORS_OF_INTEGERS = {16: (2, 0.88), 12: (2, 0.85), 8: (4, 1.0), 4: (8, 0.82)}
_HEIGHTS_IF_FUSED = {12: 3}


@dataclass(frozen=True)
class Window:
    """A convolution's window: everything in (height, width).

    Args:
        out: The output's extents.
        strides: Steps of the window.
        dilation: Distance between two of its taps.
    """

    out: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]


def choose_tile(rows: int, columns: int, dtype: str = "float32", *, dividing: bool = False) -> Tile:
    """Chooses a tile for ``rows`` × ``columns`` results: the quickest, with what it computes in vain.

    Its width, and so how weights are packed, is the same with and without fused instructions: modules of both kinds can
    share a file of weights.

    Args:
        rows: Rows of the results.
        columns: Their columns.
        dtype: Theirs.
        dividing: Whether its width must divide them; then four does.
    """
    vectors = _VECTORS if dtype == "float32" else _VECTORS_OF_INTEGERS
    several, one = (vectors, _VECTORS_OF_A_ROW) if has_vectors() else (_SCALARS, _SCALARS_OF_A_ROW)
    table = one if rows == 1 else several

    def cost(width: int) -> float:
        height, speed = table[width]
        return rounded_up(columns, width) * rounded_up(rows, min(height, rows)) / speed

    width = min((it for it in table if not dividing or columns % it == 0), key=cost)
    height = _HEIGHTS_IF_FUSED.get(width) if has_fused() and dtype == "float32" and rows > 1 else None
    return Tile(min(height or table[width][0], rows), width)


def rounded_up(extent: int, step: int) -> int:
    """The least multiple of ``step`` that an extent fits in."""
    return math.ceil(extent / step) * step


def pack(weights: np.ndarray, columns: int) -> np.ndarray:
    """Packs weights [K…, N] in panels: [⌈N / columns⌉, K…, columns], the last filled up with zeros."""
    extent = weights.shape[-1]
    missing = -extent % columns
    padded = np.pad(weights, [(0, 0)] * (weights.ndim - 1) + [(0, missing)])
    panels = padded.reshape(*weights.shape[:-1], -1, columns)
    return np.ascontiguousarray(np.moveaxis(panels, -2, 0))


def matmul(x: te.Tensor, packed: te.Tensor, columns: int, tile: Tile, offset: int = 0) -> te.Tensor:
    """``x`` [M, K] times packed weights [panels, K, tile.columns]: [M, columns]; ``offset`` is that of ``term_of``."""
    rows = int(x.shape[0])
    k = te.reduce_axis((0, int(packed.shape[1])), "k")

    def term(row: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        return term_of(lambda at: x(row, at), k, packed(column // tile.columns, k, column % tile.columns), offset)

    return _product(rows, columns, int(packed.shape[0]), tile, term, [k])


def convolution(
    x: te.Tensor, packed: te.Tensor, columns: int, tile: Tile, window: Window, channels: int, offset: int = 0
) -> te.Tensor:
    """A convolution without groups or padding.

    Args:
        x: [N, H, W·C]: the channels of neighbouring pixels follow one another.
        packed: [panels, KH, KW·C, tile.columns], or [panels, KH, KW, C, tile.columns] where the width is dilated.
        columns: The number of output channels.
        tile: The tile.
        window: The window.
        channels: C.
        offset: That of ``term_of``.

    Returns:
        [N·OH·OW, columns].
    """
    batch, kernel_height = int(x.shape[0]), int(packed.shape[1])
    height, width = window.out
    taps = te.reduce_axis((0, kernel_height), "kh")
    inner = [te.reduce_axis((0, int(extent)), f"k{axis}") for axis, extent in enumerate(packed.shape[2:-1])]

    def term(row: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        image, pixel = (0, row) if batch == 1 else (row // (height * width), row % (height * width))
        at_height = (pixel // width) * window.strides[0] + taps * window.dilation[0]
        if len(inner) == 1:
            start = (pixel % width) * (window.strides[1] * channels)
        else:
            start = ((pixel % width) * window.strides[1] + inner[0] * window.dilation[1]) * channels
        weight = packed(column // tile.columns, taps, *inner, column % tile.columns)
        return term_of(lambda at: x(image, at_height, start + at), inner[-1], weight, offset)

    return _product(batch * height * width, columns, int(packed.shape[0]), tile, term, [taps, *inner])


def patches(x: te.Tensor, window: Window, taps: tuple[int, int], channels: int) -> te.Tensor:
    """What a window over ``x`` [N, H, W·C] sees at each of its places: [N, OH, OW, KH, KW·C], without dilated width."""

    def element(image: tirx.Expr, row: tirx.Expr, column: tirx.Expr, tap: tirx.Expr, k: tirx.Expr) -> tirx.Expr:
        at_height = row * window.strides[0] + tap * window.dilation[0]
        return x[image, at_height, column * (window.strides[1] * channels) + k]

    return te.compute((int(x.shape[0]), *window.out, taps[0], taps[1] * channels), element, name="patches")


def grouped_convolution(
    x: te.Tensor, packed: te.Tensor, columns: int, tile: Tile, window: Window, channels: int, offset: int = 0
) -> te.Tensor:
    """A convolution whose channels are in groups.

    Args:
        x: [N, H, W, C].
        packed: [groups, panels, KH, KW, C / groups, tile.columns].
        columns: The number of output channels.
        tile: The tile.
        window: The window.
        channels: C.
        offset: That of ``term_of``.

    Returns:
        [N·OH·OW, columns].
    """
    groups, panels, *extents = (int(extent) for extent in packed.shape[:-1])
    batch, (height, width), depth = int(x.shape[0]), window.out, channels // groups
    each = columns // groups
    axes = [te.reduce_axis((0, extent), name) for extent, name in zip(extents, ("kh", "kw", "kc"), strict=True)]
    rows = batch * height * width

    def term(row: tirx.Expr, group: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        image, pixel = row // (height * width), row % (height * width)
        at_height = (pixel // width) * window.strides[0] + axes[0] * window.dilation[0]
        at_width = (pixel % width) * window.strides[1] + axes[1] * window.dilation[1]
        weight = packed(group, column // tile.columns, *axes, column % tile.columns)
        return term_of(lambda at: x(image, at_height, at_width, group * depth + at), axes[2], weight, offset)

    accumulated = product_rows(rows, (groups, panels * tile.columns), tile, term, axes, each)
    return te.compute(
        (rows, columns), lambda row, column: accumulated[row, column // each, column % each], name="written"
    )


def batched(x: te.Tensor, y: te.Tensor, tile: Tile) -> te.Tensor:
    """``x`` [B, M, K] times ``y`` [B, K, N], neither known at compile time: [B, M, N]; ``tile.columns`` divides N."""
    batch, rows, depth = (int(extent) for extent in x.shape)
    columns = int(y.shape[2])
    k = te.reduce_axis((0, depth), "k")

    def term(row: tirx.Expr, b: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        return term_of(lambda at: x(b, row, at), k, y(b, k, column))

    accumulated = product_rows(rows, (batch, columns), tile, term, [k])
    return te.compute((batch, rows, columns), lambda b, row, column: accumulated[row, b, column], name="written")


def _product(
    rows: int, columns: int, panels: int, tile: Tile, term: Callable[..., tirx.Expr], axes: list[tirx.IterVar]
) -> te.Tensor:
    accumulated = product_rows(rows, (panels * tile.columns,), tile, term, axes)
    return te.compute((rows, columns), lambda row, column: accumulated[row, column], name="written")


def product_rows(
    rows: int,
    others: tuple[int, ...],
    tile: Tile,
    term: Callable[..., tirx.Expr],
    axes: list[tirx.IterVar],
    each: int | None = None,
) -> te.Tensor:
    """The block that accumulates a product.

    The last tile may stand over the edge: its surplus rows compute the last row again, and nobody reads them.

    Args:
        rows: Rows of the result.
        others: Its other extents, columns last.
        tile: The tile.
        term: From the indices of a result to what is summed over ``axes``.
        axes: What is summed over.
        each: Columns of a group, where what is written has those of all groups side by side.

    Returns:
        [rows rounded up, *others].
    """
    exact = rows % tile.rows == 0
    return te.compute(
        (rounded_up(rows, tile.rows), *others),
        lambda row, *at: te.sum(term(row if exact else tirx.min(row, rows - 1), *at), axis=axes),
        name=GEMM,
        attrs=tile.attributes | ({} if each is None else {"each": each}),
    )
