"""3×3 convolutions with fewer multiplications: Winograd's F(m×m, 3×3) of Lavin and Gray (arXiv:1509.09308, 2015).

Tiles of the picture and the weights are transformed, multiplied point by point, and transformed back. The products of
one point over all tiles and channels are a matrix product. Weights are transformed by each run: stored transformed,
they would be up to four times as large.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from tvm import te, tirx
from tvm.ir import PrimType

from onnx_wasm.compiler.anchors.gemm import Tile, product_rows

TAPS = 3
_LANES = 4


@dataclass(frozen=True)
class Transform:
    """The matrices of F(m×m, 3×3): output = Aᵀ · ((G · weights · Gᵀ) ⊙ (Bᵀ · tile · B)) · A.

    Args:
        outputs: m, the rows and columns of results that a tile gives.
        picture: Bᵀ [m + 2, m + 2].
        weights: G [m + 2, 3].
        results: Aᵀ [m, m + 2].
    """

    outputs: int
    picture: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    results: tuple[tuple[float, ...], ...]

    @property
    def extent(self) -> int:
        """The rows and columns of a tile."""
        return self.outputs + TAPS - 1


def interpolation(points: Sequence[Fraction]) -> Transform:
    """The matrices that Toom and Cook's interpolation gives for some points and infinity.

    Args:
        points: m + 1 of them. Points of both signs and near 1 keep rounding errors small (Barabasz et al., "Error
            Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020).
    """
    outputs = len(points) + 1 - TAPS + 1
    zero, one = Fraction(0), Fraction(1)
    others = [[q for q in points if q != p] for p in points]
    picture = [[*_polynomial(roots), zero] for roots in others]
    norms = [math.prod(p - q for q in roots) for p, roots in zip(points, others, strict=True)]
    weights = [[p**k / norm for k in range(TAPS)] for p, norm in zip(points, norms, strict=True)]
    results = [[*(p**i for p in points), one if i == outputs - 1 else zero] for i in range(outputs)]
    return Transform(
        outputs,
        _floats([*picture, _polynomial(points)]),
        _floats([*weights, [zero] * (TAPS - 1) + [one]]),
        _floats(results),
    )


def _polynomial(roots: Sequence[Fraction]) -> list[Fraction]:
    """The coefficients of a polynomial with these roots, the lowest power first."""
    coefficients = [Fraction(1)]
    for root in roots:
        by_x, by_root = [Fraction(0), *coefficients], [*(root * it for it in coefficients), Fraction(0)]
        coefficients = [a - b for a, b in zip(by_x, by_root, strict=True)]
    return coefficients


def _floats(matrix: Sequence[Sequence[Fraction]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(it) for it in row) for row in matrix)


_F2 = interpolation([Fraction(0), Fraction(1), Fraction(-1)])
_F4 = interpolation([Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)])
TRANSFORMS = (_F2, _F4)


@dataclass(frozen=True)
class Tiling:
    """How a picture is cut into tiles.

    Args:
        transform: What each tile goes through.
        batch: The number of pictures.
        out: The output's height and width.
    """

    transform: Transform
    batch: int
    out: tuple[int, int]

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles in height and width; the last of each may stand over the edge."""
        height, width = (math.ceil(extent / self.transform.outputs) for extent in self.out)
        return height, width

    @property
    def rows(self) -> int:
        """The number of tiles in all pictures."""
        return self.batch * math.prod(self.tiles)

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width that a picture must be padded to."""
        height, width = (count * self.transform.outputs + TAPS - 1 for count in self.tiles)
        return height, width


# Processor cycles for four elements, measured in V8 on Zen 3. They only choose between ways that are all right.
_CYCLES_OF_PRODUCT = 0.6
_CYCLES_OF_TILE = 130  # its transform, and that of its results
_CYCLES_OF_WEIGHT = 110


def choose(batch: int, out: tuple[int, int], channels: int, columns: int) -> Tiling | None:
    """Chooses the quickest way for a convolution.

    Args:
        batch: The number of pictures.
        out: The output's height and width.
        channels: Input channels.
        columns: Output channels.

    Returns:
        The tiling; None if the convolution is quicker without.
    """
    if channels % _LANES or columns % _LANES:
        return None
    direct = TAPS**2 * batch * math.prod(out) * channels * columns / _LANES * _CYCLES_OF_PRODUCT
    ways = [Tiling(transform, batch, out) for transform in TRANSFORMS]
    best = min(ways, key=lambda it: _cycles(it, channels, columns))
    return best if _cycles(best, channels, columns) < direct else None


def _cycles(tiling: Tiling, channels: int, columns: int) -> float:
    points = tiling.transform.extent**2
    share = points / _F4.extent**2
    products = points * tiling.rows * channels * columns / _LANES * _CYCLES_OF_PRODUCT
    tiles = tiling.rows * (channels + columns) / 2 / _LANES * _CYCLES_OF_TILE * share
    return products + tiles + channels * columns / _LANES * _CYCLES_OF_WEIGHT * share


def picture_tiles(x: te.Tensor, tiling: Tiling) -> te.Tensor:
    """Transforms tiles: ``x`` [N, H, W, C], padded to ``tiling.picture``, becomes [points, tiles, C]."""
    transform, (tall, wide) = tiling.transform, tiling.tiles
    channels, extent = int(x.shape[3]), transform.extent

    def body(read: tirx.Buffer, written: tirx.Buffer) -> tirx.Stmt:
        def one(row: tirx.Expr, channel: tirx.Expr) -> tirx.Stmt:
            image, top, left = row // (tall * wide), row // wide % tall, row % wide
            corner = (top * transform.outputs, left * transform.outputs)
            tile = [[read[image, corner[0] + i, corner[1] + j, channel] for j in range(extent)] for i in range(extent)]
            lines = _Lines()
            points = lines.sandwich(transform.picture, tile)
            return lines.then(
                tirx.BufferStore(written, value, [index, row, channel]) for index, value in enumerate(points)
            )

        return _loops((tiling.rows, channels), one)

    return _extern((extent**2, tiling.rows, channels), x, body, "winograd_picture")


def weight_tiles(packed: te.Tensor, transform: Transform) -> te.Tensor:
    """Transforms weights [panels, 3, 3, C, lanes]: they become [points, panels, C, lanes]."""
    panels, _, _, channels, lanes = (int(it) for it in packed.shape)

    def body(read: tirx.Buffer, written: tirx.Buffer) -> tirx.Stmt:
        def one(panel: tirx.Expr, channel: tirx.Expr, lane: tirx.Expr) -> tirx.Stmt:
            taps = [[read[panel, i, j, channel, lane] for j in range(TAPS)] for i in range(TAPS)]
            lines = _Lines()
            points = lines.sandwich(transform.weights, taps)
            return lines.then(
                tirx.BufferStore(written, value, [index, panel, channel, lane]) for index, value in enumerate(points)
            )

        return _loops((panels, channels, lanes), one)

    return _extern((transform.extent**2, panels, channels, lanes), packed, body, "winograd_weights")


def products(tiles: te.Tensor, weights: te.Tensor, columns: int, tile: Tile) -> te.Tensor:
    """Multiplies tiles [points, tiles, C] by weights [points, panels, C, lanes]: [points, tiles, columns]."""
    points, rows, depth = (int(it) for it in tiles.shape)
    k = te.reduce_axis((0, depth), "k")

    def term(row: tirx.Expr, point: tirx.Expr, column: tirx.Expr) -> tirx.Expr:
        return tiles[point, row, k] * weights[point, column // tile.columns, k, column % tile.columns]

    accumulated = product_rows(rows, (points, int(weights.shape[1]) * tile.columns), tile, term, [k])
    return te.compute(
        (points, rows, columns), lambda point, row, column: accumulated[row, point, column], name="written"
    )


def results(points: te.Tensor, tiling: Tiling) -> te.Tensor:
    """Transforms products [points, tiles, columns] back: [N·OH·OW, columns]."""
    transform, (tall, wide), (height, width) = tiling.transform, tiling.tiles, tiling.out
    columns, extent, outputs = int(points.shape[2]), transform.extent, transform.outputs

    def body(read: tirx.Buffer, written: tirx.Buffer) -> tirx.Stmt:
        def one(row: tirx.Expr, column: tirx.Expr) -> tirx.Stmt:
            image, top, left = row // (tall * wide), row // wide % tall * outputs, row % wide * outputs
            square = [[read[i * extent + j, row, column] for j in range(extent)] for i in range(extent)]
            lines = _Lines()
            found = lines.sandwich(transform.results, square)

            def store(index: int, value: tirx.Expr) -> tirx.Stmt:
                down, right = divmod(index, outputs)
                pixel = (image * height + top + down) * width + left + right
                stored: tirx.Stmt = tirx.BufferStore(written, value, [pixel, column])
                for at, by, end in ((left, right, width), (top, down, height)):
                    if end % outputs and by >= end % outputs:
                        stored = tirx.IfThenElse(at + by < end, stored, None)
                return stored

            return lines.then(itertools.starmap(store, enumerate(found)))

        return _loops((tiling.rows, columns), one)

    return _extern((tiling.batch * height * width, columns), points, body, "winograd_results")


class _Lines:
    """Straight-line code on vectors: each value is computed once and kept in a place of its own."""

    def __init__(self) -> None:
        self._lines: list[tuple[tirx.Var, tirx.Expr]] = []

    def sandwich(self, matrix: Sequence[Sequence[float]], square: list[list[tirx.Expr]]) -> list[tirx.Expr]:
        """Matrix · square · matrixᵀ, row by row."""
        columns = [self._times(matrix, list(column)) for column in zip(*square, strict=True)]
        return [value for row in zip(*columns, strict=True) for value in self._times(matrix, list(row))]

    def then(self, last: Iterable[tirx.Stmt]) -> tirx.Stmt:
        """All of it, and what is done with the results."""
        return tirx.SeqStmt([*(tirx.Bind(variable, value) for variable, value in self._lines), *last])

    def _times(self, matrix: Sequence[Sequence[float]], values: list[tirx.Expr]) -> list[tirx.Expr]:
        """Matrix · values. Rows that differ in the signs of every other column share their sums."""
        known = [self._kept(value) for value in values]
        sums: dict[tuple[float, ...], tirx.Expr] = {}

        def part(row: Sequence[float], first: int) -> tuple[float, tirx.Expr] | None:
            factors = tuple(it if index % 2 == first else 0 for index, it in enumerate(row))
            leading = next((it for it in factors if it), 0)
            if not leading:
                return None
            sign = math.copysign(1, leading)
            key = tuple(sign * it for it in factors)
            if key not in sums:
                sums[key] = self._kept(_sum((it, value) for it, value in zip(key, known, strict=True) if it))
            return sign, sums[key]

        return [_sum(it for it in (part(row, 0), part(row, 1)) if it) for row in matrix]

    def _kept(self, value: tirx.Expr) -> tirx.Expr:
        if isinstance(value, tirx.Var):
            return value
        self._lines.append((tirx.Var(f"v{len(self._lines)}", PrimType(str(value.ty.dtype))), value))
        return self._lines[-1][0]


def _sum(terms: Iterable[tuple[float, tirx.Expr]]) -> tirx.Expr:
    total: tirx.Expr | None = None
    for factor, value in sorted(terms, key=lambda term: term[0] < 0):  # begin with one that needs no negation
        size = abs(factor)
        scaled = value if size == 1 else value * tirx.const(np.float32(size), str(value.ty.dtype))
        if total is None:
            total = scaled if factor > 0 else scaled * tirx.const(-1.0, str(value.ty.dtype))
        else:
            total = total + scaled if factor > 0 else total - scaled
    assert total is not None
    return total


def _loops(extents: Sequence[int], body: Callable[..., tirx.Stmt]) -> tirx.Stmt:
    """A nest of loops, the last of them four elements at a time."""
    variables = [tirx.Var(f"i{index}", "int32") for index in range(len(extents))]
    lane = tirx.Var("lane", "int32")
    nest = body(*variables[:-1], variables[-1] * _LANES + lane)
    nest = tirx.For(lane, 0, _LANES, tirx.ForKind.VECTORIZED, nest)
    for variable, extent in zip(reversed(variables), (extents[-1] // _LANES, *reversed(extents[:-1])), strict=True):
        nest = tirx.For(variable, 0, extent, tirx.ForKind.SERIAL, nest)
    return nest


def _extern(
    shape: tuple[int, ...], source: te.Tensor, body: Callable[[tirx.Buffer, tirx.Buffer], tirx.Stmt], name: str
) -> te.Tensor:
    # With buffers of its own te.extern would let them begin at an offset.
    read = tirx.decl_buffer(source.shape, source.dtype, "read")
    written = tirx.decl_buffer(shape, source.dtype, "written")
    return te.extern(
        [shape],
        [source],
        lambda reads, writes: body(reads[0], writes[0]),
        name=name,
        in_buffers=[read],
        out_buffers=[written],
    )
