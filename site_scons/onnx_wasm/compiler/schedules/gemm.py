"""The rule for matrix products: a tile of results in registers, the epilogue on it before it is written."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.anchors.gemm import GEMM
from onnx_wasm.compiler.schedules.blocks import LANES, anchored, apart, extent, split_axes, write_out
from onnx_wasm.compiler.targets import has_vectors
from onnx_wasm.compiler.walking import WALKED

_TINY = 16
"""A window over this many elements or fewer is written out."""

_MOST_TERMS = (8, 4, 2)
_MOST_OPERATIONS = 256
"""Scalars add up in the order in which they are written, without a place for each sum in between. An interpreter has a
third less to do so; more of it would be much code."""


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel whose main block is ``gemm``."""
    found = anchored(sch, GEMM)
    if found is None:
        return None
    anchor, final = found
    rows, columns = (int(it) for it in sch.get(anchor).annotations["tile"])
    spatial, reduced = split_axes(sch, anchor)
    row, *outer, column = spatial
    each = sch.get(anchor).annotations.get("each")
    if each is not None and int(sch.get(final).iter_vars[-1].dom.extent) == int(each) * extent(sch, outer[0]):
        apart(sch, final, int(each))
    row_tile, in_row = sch.split(row, [None, rows])
    column_tile, in_column = sch.split(column, [None, columns])
    vector, lane = sch.split(in_column, [None, LANES])
    written_out = reduced[1:] if len(reduced) > 1 and _taps(sch, reduced[1:]) <= _TINY else []
    looped = [loop for loop in reduced if loop not in written_out]
    if not (written_out or has_vectors()):
        looped[-1], some = sch.split(looped[-1], [None, _terms(extent(sch, looped[-1]), rows * columns)])
        written_out = [some]
    sch.reorder(*outer, column_tile, row_tile, *looped, *written_out, in_row, vector, lane)
    sch.reverse_compute_at(final, row_tile)
    for loop in (*written_out, in_row, vector):
        sch.unroll(loop)
    sch.vectorize(lane)
    sch.annotate(looped[-1], WALKED, 1)
    start = sch.decompose_reduction(anchor, looped[0])
    depth = len(outer) + 2
    write_out(sch, sch.get_loops(start)[depth:])
    write_out(sch, sch.get_loops(final)[depth:])
    return sch, []


def _terms(depth: int, results: int) -> int:
    """How many terms of each sum are written out, where there are no vectors."""
    return next((it for it in _MOST_TERMS if depth % it == 0 and it * results <= _MOST_OPERATIONS), 1)


def _taps(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV]) -> int:
    count = 1
    for loop in loops:
        count *= extent(sch, loop)
    return count
