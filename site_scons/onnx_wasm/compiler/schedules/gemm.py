"""The rule for matrix products: a tile of results in registers, the epilogue on it before it is written."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.anchors.gemm import GEMM
from onnx_wasm.compiler.schedules.blocks import LANES, anchored, extent, split_axes, write_out

_TINY = 16
"""A window over this many elements or fewer is written out."""


def schedule(sch: s_tir.Schedule) -> list[str] | None:
    """Schedules a kernel whose main block is ``gemm``."""
    found = anchored(sch, GEMM)
    if found is None:
        return None
    anchor, final = found
    rows, columns = (int(it) for it in sch.get(anchor).annotations["tile"])
    spatial, reduced = split_axes(sch, anchor)
    row, *outer, column = spatial
    row_tile, in_row = sch.split(row, [None, rows])
    column_tile, in_column = sch.split(column, [None, columns])
    vector, lane = sch.split(in_column, [None, LANES])
    written_out = reduced[1:] if len(reduced) > 1 and _taps(sch, reduced[1:]) <= _TINY else []
    looped = [loop for loop in reduced if loop not in written_out]
    sch.reorder(*outer, column_tile, row_tile, *looped, *written_out, in_row, vector, lane)
    sch.reverse_compute_at(final, row_tile)
    for loop in (*written_out, in_row, vector):
        sch.unroll(loop)
    sch.vectorize(lane)
    start = sch.decompose_reduction(anchor, looped[0])
    depth = len(outer) + 2
    write_out(sch, sch.get_loops(start)[depth:])
    write_out(sch, sch.get_loops(final)[depth:])
    return []


def _taps(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV]) -> int:
    count = 1
    for loop in loops:
        count *= extent(sch, loop)
    return count
