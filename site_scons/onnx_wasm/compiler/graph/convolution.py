"""Which kernels compute a convolution: the first way that suits it, the cheaper ones first."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import relax, tirx
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm import tuning
from onnx_wasm.compiler.anchors import gemm, winograd
from onnx_wasm.compiler.anchors.depthwise import choose_run, depthwise, width_read
from onnx_wasm.compiler.graph.panels import fitting, panels, single
from onnx_wasm.compiler.graph.rewriter import OPAQUE, Rewriter, shape_of
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.compiler.targets import has_vectors, is_resident, is_small
from onnx_wasm.tuning import Choice, Kernel, Product, Tile

_NARROW = 32
"""A window's rows of fewer elements are gathered first: a loop this short costs more than the vectors in it."""


@dataclass(frozen=True)
class Convolution:
    """A two-dimensional convolution of a picture whose channels come last.

    Args:
        picture: The picture as a matrix [N·H·W, C].
        extents: (N, H, W, C).
        weights: [O, C / groups, KH, KW], as they are stored.
        window: Its output, strides and dilation.
        padding: Top, left, bottom, right.
        groups: The number of groups of channels.
        chosen: How it is computed, if that was measured.
    """

    picture: relax.Expr
    extents: tuple[int, int, int, int]
    weights: Stored
    window: gemm.Window
    padding: tuple[int, int, int, int]
    groups: int
    chosen: Choice | None = None

    @property
    def kernel(self) -> Kernel | None:
        """What tuning knows it as; None if there is nothing to choose."""
        dtype = "int32" if self.is_integer else "float32"
        if self.is_product:
            return Product(self.rows, self.extents[3], self.out, dtype=dtype)
        if self.is_depthwise:
            return None
        weights, how = (self.out, *self.taps), (self.window.strides, self.window.dilation, self.padding, self.groups)
        return tuning.Convolution(self.extents, weights, *how, dtype=dtype)

    @property
    def is_product(self) -> bool:
        """Whether it sees each pixel by itself."""
        return self.groups == 1 and self.taps == self.window.strides == (1, 1) and not any(self.padding)

    @property
    def is_depthwise(self) -> bool:
        """Whether it sees each channel by itself."""
        return self.groups == self.out == self.extents[3]

    @property
    def is_gathered(self) -> bool:
        """Whether what its window sees is put in rows first."""
        if self.chosen:
            return self.chosen.way == "gathered"
        return self.window.dilation[1] == 1 and self.taps[1] * self.extents[3] < _NARROW and has_vectors()

    @property
    def is_integer(self) -> bool:
        """Whether it is one of integers."""
        return self.weights.dtype != "float32"

    @property
    def tiling(self) -> winograd.Tiling | None:
        """How it is computed with fewer multiplications, if it is."""
        square = self.taps[0] == self.taps[1]
        if is_small() and not self.chosen:
            return None  # three transforms are much code
        if (
            self.is_integer
            or self.groups > 1
            or not square
            or self.window.strides != (1, 1)
            or self.window.dilation != (1, 1)
        ):
            return None
        batch, *_, depth = self.extents
        if self.chosen:
            ways = winograd.ways(batch, self.window.out, self.taps[0])
            return next((it for it in ways if self.chosen.way == f"winograd-{it.transform.outputs}"), None)
        return winograd.choose(batch, self.window.out, depth, self.out, self.taps[0], kept=is_resident())

    def tile(self, rows: int) -> Tile:
        """The tile of its product, which has so many rows."""
        return self.chosen.tile if self.chosen else gemm.choose_tile(rows, self.out // self.groups, self.weights.dtype)

    @property
    def out(self) -> int:
        """Output channels."""
        return int(self.weights.values.shape[0])

    @property
    def taps(self) -> tuple[int, int]:
        """The window's height and width."""
        height, width = self.weights.values.shape[2:]
        return height, width

    @property
    def rows(self) -> int:
        """Pixels of the output, in all pictures."""
        return self.extents[0] * self.window.out[0] * self.window.out[1]

    @property
    def terms(self) -> int:
        """Products that an element of the output is the sum of."""
        return int(self.weights.values[0].size)


def _ordered(weights: np.ndarray) -> np.ndarray:
    """Weights as [KH, KW, C / groups, O]."""
    return weights.transpose(2, 3, 1, 0)


def lower(rewriter: Rewriter, it: Convolution) -> relax.Expr:
    """Emits the kernels of a convolution.

    Args:
        rewriter: What emits them.
        it: The convolution.

    Returns:
        The output as a matrix [N·OH·OW, O].
    """
    return next(made for way in _WAYS if (made := way(rewriter, it)) is not None)


def _pointwise(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    return _product(rewriter, "conv1x1", it.picture, it) if it.is_product else None


def _with_fewer_multiplications(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    tiling = it.tiling
    if tiling is None:
        return None
    batch, height, width, depth = it.extents
    (top, left, *_), (tall, wide) = it.padding, tiling.picture
    padded = _padded(rewriter, it, (top, left, tall - height - top, wide - width - left))
    tile = it.tile(tiling.rows)
    packed, _ = panels(rewriter, it.weights, _ordered, functools.partial(gemm.pack, columns=tile.columns))
    transform, images, (down, right) = tiling.transform, batch, tiling.tiles

    def by_hand(
        name: str,
        kernel: Callable[[list[int]], tirx.PrimFunc],
        x: relax.Expr,
        extents: list[int],
        shape: tuple[int, ...],
    ) -> relax.Var:
        return rewriter.call_kernel(f"winograd_{name}", kernel(extents), [x], shape, "winograd")

    panel_count, columns = shape_of(packed)[0], it.out
    points = transform.extent**2
    weights = by_hand(
        "weights",
        functools.partial(winograd.weight_tiles, transform),
        packed,
        [panel_count, depth * tile.columns],
        (points, panel_count, depth, tile.columns),
    )
    tiles = by_hand(
        "picture",
        functools.partial(winograd.picture_tiles, transform),
        padded,
        [images, down, right, depth],
        (points, tiling.rows, depth),
    )
    products = rewriter.call_te("winograd_products", winograd.products, tiles, weights, columns, tile)
    return by_hand(
        "results",
        functools.partial(winograd.results, transform, whole=tiling.whole),
        products,
        [images, down, right, columns, *tiling.out],
        (it.rows, columns),
    )


def _depthwise(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    if not it.is_depthwise:
        return None
    taps = single(rewriter, it.weights, lambda weights: _ordered(weights)[:, :, 0])
    (top, left, bottom, right), (_, width) = it.padding, it.taps
    run = choose_run(it.window.out[1], width)
    over = max(width_read(it.window, width, run) - (left + it.extents[2] + right), 0)
    padded = _padded(rewriter, it, (top, left, bottom, right + over))
    return rewriter.call_te("depthwise", depthwise, padded, taps, it.window, run)


def _grouped(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    if it.groups == 1:
        return None
    tile = it.tile(it.rows)

    def packed_groups(weights: np.ndarray) -> np.ndarray:
        return np.stack([gemm.pack(group, tile.columns) for group in np.split(weights, it.groups, axis=-1)])

    depth = it.extents[3]
    packed, offset = panels(rewriter, it.weights, _ordered, packed_groups)
    padded = fitting(rewriter, _padded(rewriter, it), packed)
    return rewriter.call_te(
        "conv_grouped", gemm.grouped_convolution, padded, packed, it.out, tile, it.window, depth, offset
    )


def _gathered(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    if not it.is_gathered:
        return None
    arguments = _lines(rewriter, it), it.window, it.taps, it.extents[3]
    patches = rewriter.call_te("patches", gemm.patches, *arguments, pattern=OPAQUE)
    matrix = rewriter.emit(R.reshape(patches, (it.rows, it.terms)))
    return _product(rewriter, "conv_patches", matrix, it)


def _direct(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    tile, depth = it.tile(it.rows), it.extents[3]
    # Undilated, the channels of neighbouring pixels follow one another.
    shape = [*it.taps, depth, it.out] if it.window.dilation[1] > 1 else [it.taps[0], it.taps[1] * depth, it.out]
    pack = functools.partial(gemm.pack, columns=tile.columns)
    packed, offset = panels(rewriter, it.weights, lambda weights: _ordered(weights).reshape(shape), pack)
    lines = fitting(rewriter, _lines(rewriter, it), packed)
    return rewriter.call_te("conv", gemm.convolution, lines, packed, it.out, tile, it.window, depth, offset)


_WAYS = (_pointwise, _with_fewer_multiplications, _depthwise, _grouped, _gathered, _direct)


def _product(rewriter: Rewriter, name: str, matrix: relax.Expr, it: Convolution) -> relax.Var:
    tile = it.tile(it.rows)
    pack = functools.partial(gemm.pack, columns=tile.columns)
    packed, offset = panels(rewriter, it.weights, lambda weights: _ordered(weights).reshape(-1, it.out), pack)
    return rewriter.call_te(name, gemm.matmul, fitting(rewriter, matrix, packed), packed, it.out, tile, offset)


def _padded(rewriter: Rewriter, it: Convolution, padding: tuple[int, int, int, int] | None = None) -> relax.Expr:
    """The picture [N, H, W, C] with zeros around it."""
    picture = rewriter.emit(R.reshape(it.picture, it.extents))
    top, left, bottom, right = it.padding if padding is None else padding
    if not any((top, left, bottom, right)):
        return picture
    return rewriter.emit(R.nn.pad(picture, [0, 0, top, bottom, left, right, 0, 0]))


def _lines(rewriter: Rewriter, it: Convolution) -> relax.Expr:
    """The padded picture [N, H, W·C]."""
    padded = _padded(rewriter, it)
    batch, height, width, depth = shape_of(padded)
    return rewriter.emit(R.reshape(padded, (batch, height, width * depth)))
