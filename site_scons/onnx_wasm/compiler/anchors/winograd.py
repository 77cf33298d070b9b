"""Convolutions of 3×3 and 5×5 with fewer multiplications: Winograd's F(m×m, r×r) (Lavin and Gray, arXiv:1509.09308).

Tiles of the picture and the weights are transformed, multiplied point by point, and transformed back. The products of
one point over all tiles and channels are a matrix product. Weights are transformed where the module runs: in its file
they would be up to four times as large.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

import numpy as np
from tvm import te, tirx
from tvm.ir import PrimType

from onnx_wasm.compiler.anchors.gemm import product_rows
from onnx_wasm.compiler.targets import has_vectors
from onnx_wasm.tuning import Tile

_LANES = 4
_MOST = 1 << 30
"""More elements than a tensor can have in a memory of 4 GiB."""


@dataclass(frozen=True)
class Transform:
    """The matrices of F(m×m, r×r): output = Aᵀ · ((G · weights · Gᵀ) ⊙ (Bᵀ · tile · B)) · A.

    Args:
        outputs: m, the rows and columns of results that a tile gives.
        taps: r, the rows and columns of weights.
        picture: Bᵀ [m + r − 1, m + r − 1].
        weights: G [m + r − 1, r].
        results: Aᵀ [m, m + r − 1].
    """

    outputs: int
    taps: int
    picture: tuple[tuple[float, ...], ...]
    weights: tuple[tuple[float, ...], ...]
    results: tuple[tuple[float, ...], ...]

    @property
    def extent(self) -> int:
        """The rows and columns of a tile."""
        return self.outputs + self.taps - 1


def interpolation(points: Sequence[Fraction], taps: int) -> Transform:
    """The matrices that Toom and Cook's interpolation gives for some points and infinity.

    Args:
        points: m + r − 2 of them. Points of both signs and near 1 keep rounding errors small (Barabasz et al., "Error
            Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", 2020).
        taps: r.
    """
    outputs = len(points) + 1 - taps + 1
    zero, one = Fraction(0), Fraction(1)
    others = [[q for q in points if q != p] for p in points]
    picture = [[*_polynomial(roots), zero] for roots in others]
    norms = [math.prod(p - q for q in roots) for p, roots in zip(points, others, strict=True)]
    weights = [[p**k / norm for k in range(taps)] for p, norm in zip(points, norms, strict=True)]
    results = [[*(p**i for p in points), one if i == outputs - 1 else zero] for i in range(outputs)]
    return Transform(
        outputs,
        taps,
        _floats([*picture, _polynomial(points)]),
        _floats([*weights, [zero] * (taps - 1) + [one]]),
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


_THREE = [Fraction(0), Fraction(1), Fraction(-1)]
_FIVE = [Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)]
TRANSFORMS = (interpolation(_THREE, 3), interpolation(_FIVE, 3), interpolation(_FIVE, 5))


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
    def whole(self) -> bool:
        """Whether no tile stands over the edge."""
        return all(extent % self.transform.outputs == 0 for extent in self.out)

    @property
    def picture(self) -> tuple[int, int]:
        """Height and width that a picture must be padded to."""
        height, width = (count * self.transform.outputs + self.transform.taps - 1 for count in self.tiles)
        return height, width


# Processor cycles for four elements, of tiles of 36 points, measured in V8. They only choose between right ways.
_POINTS = 36
_CYCLES_OF_PRODUCT = 0.6
_CYCLES_OF_TILE = 130  # its transform, and that of its results
_CYCLES_OF_WEIGHT = 110
_CYCLES_OF_KEPT_WEIGHT = 30  # only read


def ways(batch: int, out: tuple[int, int], taps: int) -> list[Tiling]:
    """All there are for windows of this height and width, if channels fill whole vectors."""
    return [Tiling(transform, batch, out) for transform in TRANSFORMS if transform.taps == taps]


def choose(
    batch: int, out: tuple[int, int], channels: int, columns: int, taps: int, *, kept: bool = False
) -> Tiling | None:
    """Chooses the quickest way for a convolution.

    Args:
        batch: The number of pictures.
        out: The output's height and width.
        channels: Input channels.
        columns: Output channels.
        taps: The window's height and width.
        kept: Whether the weights' transform is kept from run to run.

    Returns:
        The tiling; None if the convolution is quicker without.
    """
    tilings = ways(batch, out, taps)
    if not tilings or channels % _LANES or columns % _LANES:
        return None
    direct = taps**2 * batch * math.prod(out) * channels * columns / _LANES * _CYCLES_OF_PRODUCT
    weight = _CYCLES_OF_KEPT_WEIGHT if kept else _CYCLES_OF_WEIGHT
    cycles = {it: _cycles(it, channels, columns, weight) for it in tilings}
    best = min(tilings, key=lambda it: cycles[it])
    return best if cycles[best] < direct else None


def _cycles(tiling: Tiling, channels: int, columns: int, weight: int) -> float:
    points = tiling.transform.extent**2
    share = points / _POINTS
    products = points * tiling.rows * channels * columns / _LANES * _CYCLES_OF_PRODUCT
    tiles = tiling.rows * (channels + columns) / 2 / _LANES * _CYCLES_OF_TILE * share
    return products + tiles + channels * columns / _LANES * weight * share


def picture_tiles(transform: Transform, extents: Sequence[int]) -> tirx.PrimFunc:
    """The kernel that transforms tiles: ``x`` [N, H, W, C], padded to ``Tiling.picture``, becomes [points, tiles, C].

    Its extents are N, the tiles in height and width, and C.
    """
    outputs, extent = transform.outputs, transform.extent

    def body(read: _Access, write: _Write, extents: list[tirx.Expr]) -> tirx.Stmt:
        images, tall, wide, channels = extents
        height, width = (count * outputs + transform.taps - 1 for count in (tall, wide))

        def one(image: tirx.Expr, down: tirx.Expr, right: tirx.Expr, channel: tirx.Expr) -> tirx.Stmt:
            corner = (image * height + down * outputs) * width + right * outputs
            row, rows = (image * tall + down) * wide + right, images * tall * wide
            return _sandwich(
                transform.picture,
                lambda i, j, lane: read((corner + i * width + j) * channels + channel + lane),
                lambda i, j, lane, it: write(((i * extent + j) * rows + row) * channels + channel + lane, it),
            )

        return _loops((images, tall, wide, channels), one)

    return _kernel((4, 3), extents, body)


def weight_tiles(transform: Transform, extents: Sequence[int]) -> tirx.PrimFunc:
    """The kernel that transforms weights [panels, r, r, C, lanes]: they become [points, panels, C, lanes].

    Its extents are the panels, and C · lanes.
    """
    taps, extent = transform.taps, transform.extent

    def body(read: _Access, write: _Write, extents: list[tirx.Expr]) -> tirx.Stmt:
        panels, each = extents

        def one(panel: tirx.Expr, at: tirx.Expr) -> tirx.Stmt:
            return _sandwich(
                transform.weights,
                lambda i, j, lane: read(((panel * taps + i) * taps + j) * each + at + lane),
                lambda i, j, lane, it: write(((i * extent + j) * panels + panel) * each + at + lane, it),
            )

        return _loops((panels, each), one)

    return _kernel((5, 4), extents, body)


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


def results(transform: Transform, extents: Sequence[int], *, whole: bool) -> tirx.PrimFunc:
    """The kernel that transforms products [points, tiles, columns] back: [N·OH·OW, columns].

    Its extents are N, the tiles in height and width, the columns, OH and OW.

    Args:
        transform: The transform.
        extents: Its extents.
        whole: Whether no tile stands over the edge.
    """
    extent, outputs = transform.extent, transform.outputs

    def body(read: _Access, write: _Write, extents: list[tirx.Expr]) -> tirx.Stmt:
        images, tall, wide, columns, height, width = extents

        def one(image: tirx.Expr, down: tirx.Expr, right: tirx.Expr, column: tirx.Expr) -> tirx.Stmt:
            row, rows = (image * tall + down) * wide + right, images * tall * wide

            def store(i: tirx.Expr, j: int, lane: tirx.Expr, value: tirx.Expr) -> tirx.Stmt:
                y, x = down * outputs + i, right * outputs + j
                stored = write(((image * height + y) * width + x) * columns + column + lane, value)
                inside = [y < height, x < width] if j else [y < height]
                return stored if whole else tirx.IfThenElse(tirx.all(*inside), stored, None)

            return _sandwich(
                transform.results,
                lambda i, j, lane: read(((i * extent + j) * rows + row) * columns + column + lane),
                store,
            )

        return _loops((images, tall, wide, columns), one)

    return _kernel((3, 2), extents, body)


def _sandwich(
    matrix: Sequence[Sequence[float]],
    read: Callable[[_Index, _Index, tirx.Expr], tirx.Expr],
    write: Callable[[tirx.Expr, int, tirx.Expr, tirx.Expr], tirx.Stmt],
) -> tirx.Stmt:
    """Matrix · square · matrixᵀ for a vector of squares: the columns in a loop, then the rows of what that gives.

    With both written out, 36 points would be more values than there are registers, and several times the code.

    Args:
        matrix: [rows, columns].
        read: Gives an element of the square, by row, column and lane.
        write: Puts an element of the result where it belongs, likewise.
    """
    columns, lanes = len(matrix[0]), _lanes()
    between = tirx.decl_buffer((len(matrix) * columns * lanes,), "float32", "between")

    def at(row: _Index, column: _Index, lane: tirx.Expr) -> tirx.Expr:
        return (row * columns + column) * lanes + lane

    def down(column: tirx.Expr, lane: tirx.Expr) -> tirx.Stmt:
        values = [read(row, column, lane) for row in range(columns)]
        return _line(matrix, values, lambda row, it: tirx.BufferStore(between, it, [at(row, column, lane)]))

    def along(row: tirx.Expr, lane: tirx.Expr) -> tirx.Stmt:
        values = [tirx.BufferLoad(between, [at(row, column, lane)]) for column in range(columns)]
        return _line(matrix, values, lambda column, it: write(row, column, lane, it))

    return tirx.SeqStmt([tirx.AllocBuffer(between), _over_lines(columns, down), _over_lines(len(matrix), along)])


def _line(
    matrix: Sequence[Sequence[float]], values: Sequence[tirx.Expr], store: Callable[[int, tirx.Expr], tirx.Stmt]
) -> tirx.Stmt:
    """Stores matrix · values. Rows that differ in the signs of every other column share their sums."""
    kept: list[tuple[tirx.Var, tirx.Expr]] = []
    sums: dict[tuple[float, ...], tirx.Expr] = {}

    def once(value: tirx.Expr) -> tirx.Var:
        kept.append((tirx.Var(f"v{len(kept)}", PrimType(str(value.ty.dtype))), value))
        return kept[-1][0]

    def part(row: Sequence[float], first: int) -> tuple[float, tirx.Expr] | None:
        factors = tuple(it if index % 2 == first else 0 for index, it in enumerate(row))
        leading = next((it for it in factors if it), 0)
        if not leading:
            return None
        sign = math.copysign(1, leading)
        key = tuple(sign * it for it in factors)
        if key not in sums:
            sums[key] = once(_sum((it, value) for it, value in zip(key, known, strict=True) if it))
        return sign, sums[key]

    known = [once(value) for value in values]
    results = [_sum(it for it in (part(row, 0), part(row, 1)) if it) for row in matrix]
    return tirx.SeqStmt([*(tirx.Bind(*it) for it in kept), *(store(index, it) for index, it in enumerate(results))])


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


def _lanes() -> int:
    """Channels that are transformed at once."""
    return _LANES if has_vectors() else 1


def _over_lines(extent: int, body: Callable[[tirx.Expr, tirx.Expr], tirx.Stmt]) -> tirx.Stmt:
    """A loop over a square's lines; its body is on as many channels as are transformed at once."""
    line, lane = tirx.Var("line", "int32"), tirx.Var("lane", "int32")
    each = tirx.For(lane, 0, _lanes(), tirx.ForKind.VECTORIZED, body(line, lane))
    return tirx.For(line, 0, extent, tirx.ForKind.SERIAL, each)


def _loops(extents: Sequence[tirx.Expr], body: Callable[..., tirx.Stmt]) -> tirx.Stmt:
    """A nest of loops, the last of them over channels, as many as are transformed at once in each step."""
    variables = [tirx.Var(f"i{index}", "int32") for index in range(len(extents))]
    nest = body(*variables[:-1], variables[-1] * _lanes())
    for variable, extent in zip(reversed(variables), (extents[-1] // _lanes(), *reversed(extents[:-1])), strict=True):
        nest = tirx.For(variable, 0, extent, tirx.ForKind.SERIAL, nest)
    return nest


_Index: TypeAlias = tirx.Expr | int
_Access = Callable[[tirx.Expr], tirx.Expr]
_Write = Callable[[tirx.Expr, tirx.Expr], tirx.Stmt]


def _kernel(
    ranks: tuple[int, int],
    extents: Sequence[int],
    body: Callable[[_Access, _Write, list[tirx.Expr]], tirx.Stmt],
) -> tirx.PrimFunc:
    """A kernel from one tensor to another.

    Args:
        ranks: Of the tensor read, and of the one written.
        extents: What it runs over.
        body: From what reads an element, what writes one, and the extents, to the kernel's statements.
    """
    shapes = [
        [tirx.Var(f"{name}{axis}", "int32") for axis in range(rank)] for name, rank in zip("rw", ranks, strict=True)
    ]
    source = te.placeholder(shapes[0], "float32", "source")
    # With buffers of its own te.extern would let them begin at an offset.
    read = tirx.decl_buffer(source.shape, "float32", "read")
    written = tirx.decl_buffer(shapes[1], "float32", "written")

    def statements(_reads: object, _writes: object) -> tirx.Stmt:
        flat = [tirx.decl_buffer((_MOST,), "float32", name, data=of.data) for name, of in (("x", read), ("y", written))]
        return tirx.SeqStmt(
            [
                *(tirx.DeclBuffer(it, data=of.data) for it, of in zip(flat, (read, written), strict=True)),
                body(
                    lambda at: tirx.BufferLoad(flat[0], [at]),
                    lambda at, value: tirx.BufferStore(flat[1], value, [at]),
                    [tirx.IntImm("int32", extent) for extent in extents],
                ),
            ]
        )

    result = te.extern([shapes[1]], [source], statements, in_buffers=[read], out_buffers=[written], name="winograd")
    return te.create_prim_func([source, result])
