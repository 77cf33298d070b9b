"""Which kernels compute a convolution: the first way that suits it, the cheaper ones first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import channels, gemm, winograd
from onnx_wasm.compiler.graph.rewriter import OPAQUE, Rewriter, shape_of
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.compiler.targets import has_vectors

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
    """

    picture: relax.Expr
    extents: tuple[int, int, int, int]
    weights: Stored
    window: gemm.Window
    padding: tuple[int, int, int, int]
    groups: int

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

    def ordered(self, change: Callable[[np.ndarray], np.ndarray]) -> Stored:
        """The weights in another layout, as ``change`` makes it of [KH, KW, C / groups, O]."""
        return self.weights.laid_out(lambda it: change(it.transpose(2, 3, 1, 0)))


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
    if it.groups > 1 or it.taps != (1, 1) or it.window.strides != (1, 1) or any(it.padding):
        return None
    return _product(rewriter, "conv1x1", it.picture, it)


def _with_fewer_multiplications(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    simple = it.groups == 1 and it.taps == (winograd.TAPS, winograd.TAPS) and it.window.strides == (1, 1)
    if not simple or it.window.dilation != (1, 1):
        return None
    batch, height, width, depth = it.extents
    tiling = winograd.choose(batch, it.window.out, depth, it.out)
    if tiling is None:
        return None
    (top, left, *_), (tall, wide) = it.padding, tiling.picture
    padded = _padded(rewriter, it, (top, left, tall - height - top, wide - width - left))
    tile = gemm.choose_tile(tiling.rows, it.out)
    packed = rewriter.read(it.ordered(lambda weights: gemm.pack(weights, tile.columns)))

    def by_hand(name: str, compute: Callable[..., object], *arguments: object) -> relax.Var:
        return rewriter.call_te(f"winograd_{name}", compute, *arguments, pattern=OPAQUE, rule="winograd")

    weights = by_hand("weights", winograd.weight_tiles, packed, tiling.transform)
    tiles = by_hand("picture", winograd.picture_tiles, padded, tiling)
    points = rewriter.call_te("winograd_products", winograd.products, tiles, weights, it.out, tile)
    return by_hand("results", winograd.results, points, tiling)


def _depthwise(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    if not it.groups == it.out == it.extents[3]:
        return None
    taps = rewriter.read(it.ordered(lambda weights: weights[:, :, 0]))
    return rewriter.call_te("depthwise", channels.depthwise, _padded(rewriter, it), taps, it.window)


def _grouped(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    if it.groups == 1:
        return None
    tile = gemm.choose_tile(it.rows, it.out // it.groups)

    def packed_groups(weights: np.ndarray) -> np.ndarray:
        return np.stack([gemm.pack(group, tile.columns) for group in np.split(weights, it.groups, axis=-1)])

    packed, padded = rewriter.read(it.ordered(packed_groups)), _padded(rewriter, it)
    return rewriter.call_te("conv_grouped", gemm.grouped_convolution, padded, packed, it.out, tile, it.window)


def _gathered(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    depth = it.extents[3]
    if it.window.dilation[1] > 1 or it.taps[1] * depth >= _NARROW or not has_vectors():
        return None
    patches = rewriter.call_te("patches", gemm.patches, _lines(rewriter, it), it.window, it.taps, depth, pattern=OPAQUE)
    matrix = rewriter.emit(R.reshape(patches, (it.rows, it.terms)))
    return _product(rewriter, "conv_patches", matrix, it)


def _direct(rewriter: Rewriter, it: Convolution) -> relax.Expr | None:
    tile, depth = gemm.choose_tile(it.rows, it.out), it.extents[3]
    # Undilated, the channels of neighbouring pixels follow one another.
    shape = [*it.taps, depth, it.out] if it.window.dilation[1] > 1 else [it.taps[0], it.taps[1] * depth, it.out]
    packed = rewriter.read(it.ordered(lambda weights: gemm.pack(weights.reshape(shape), tile.columns)))
    lines = _lines(rewriter, it)
    return rewriter.call_te("conv", gemm.convolution, lines, packed, it.out, tile, it.window, depth)


_WAYS = (_pointwise, _with_fewer_multiplications, _depthwise, _grouped, _gathered, _direct)


def _product(rewriter: Rewriter, name: str, matrix: relax.Expr, it: Convolution) -> relax.Var:
    tile = gemm.choose_tile(it.rows, it.out)
    packed = rewriter.read(it.ordered(lambda weights: gemm.pack(weights.reshape(-1, it.out), tile.columns)))
    return rewriter.call_te(name, gemm.matmul, matrix, packed, it.out, tile)


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
