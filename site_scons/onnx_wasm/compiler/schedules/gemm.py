"""The rule for matrix products: a tile of results in registers, the epilogue on it before it is written."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.anchors.gemm import GEMM
from onnx_wasm.compiler.schedules.blocks import LANES, anchored, count, extent, in_groups, split_axes, write_out
from onnx_wasm.compiler.targets import has_vectors
from onnx_wasm.compiler.walking import WALKED

_TINY = 16
"""A window over this many elements or fewer is written out."""

_MOST_TERMS = (8, 4, 2)
_MOST_OPERATIONS = 256
"""Scalars add up in the order in which they are written, without a place for each sum in between. An interpreter has a
third less to do so; more of it would be much code."""

_LONG, _PARTS = 1024, range(128, 31, -1)
"""The sums that are added up in parts, and these parts, in terms. Rounding errors grow with the square root of what one
place adds up in turn (Higham, "The Accuracy of Floating Point Summation", 1993): 25,088 terms in parts of 128 are six
times as exact as in one go, in the same time. Shorter sums are not: V8's first compiler, which keeps fewer values in
registers, takes twice as long for parts, and so would a model's first result."""


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel whose main block is ``gemm``."""
    found = anchored(sch, GEMM)
    if found is None:
        return None
    anchor, final = found
    rows, columns = (int(it) for it in sch.get(anchor).annotations["tile"])
    spatial, reduced = split_axes(sch, anchor)
    each = sch.get(anchor).annotations.get("each")
    total = None
    if (part := _part(sch, anchor, reduced)) is not None:
        total, anchor = anchor, part
    loops = sch.get_loops(anchor)
    (row, *outer, column), rest = loops[: len(spatial)], loops[len(spatial) :]
    parts, reduced = (rest[:1], rest[1:]) if total else ([], rest)
    if each is not None and int(sch.get(final).iter_vars[-1].dom.extent) == int(each) * extent(sch, outer[0]):
        in_groups(sch, final, int(each))
    row_tile, in_row = sch.split(row, [None, rows])
    column_tile, in_column = sch.split(column, [None, columns])
    vector, lane = sch.split(in_column, [None, LANES])
    written_out = reduced[1:] if len(reduced) > 1 and count(sch, reduced[1:]) <= _TINY else []
    looped = [loop for loop in reduced if loop not in written_out]
    if not (written_out or has_vectors()):
        looped[-1], some = sch.split(looped[-1], [None, _terms(extent(sch, looped[-1]), rows * columns)])
        written_out = [some]
    sch.reorder(*outer, column_tile, row_tile, *parts, *looped, *written_out, in_row, vector, lane)
    depth = len(outer) + 2
    if total:
        sch.reverse_compute_at(total, *parts)
    sch.reverse_compute_at(final, row_tile)
    for loop in (*written_out, in_row, vector):
        sch.unroll(loop)
    sch.vectorize(lane)
    sch.annotate(looped[-1], WALKED, 1)
    start = sch.decompose_reduction(anchor, looped[0])
    write_out(sch, sch.get_loops(start)[depth + len(parts) :])
    if total:
        write_out(sch, sch.get_loops(total)[depth + len(parts) :])
        sch.decompose_reduction(total, *parts)
    write_out(sch, sch.get_loops(final)[depth:])
    return sch, []


def _part(
    sch: s_tir.Schedule, anchor: s_tir.schedule.SBlockRV, reduced: list[s_tir.schedule.LoopRV]
) -> s_tir.schedule.SBlockRV | None:
    """Has long sums of floats added up in parts of one length.

    Returns:
        The block that sums one part, its loop over parts behind those over results; the anchor then adds these up.
        None if sums are short, or are not to be divided so.
    """
    length = extent(sch, reduced[-1])
    if str(sch.get(anchor).writes[0].source.ty.dtype) != "float32" or count(sch, reduced) < _LONG:
        return None
    part = next((it for it in _PARTS if length % it == 0), None)
    if part is None:
        return None
    outer, _ = sch.split(reduced[-1], [None, part])
    return sch.rfactor(sch.fuse(*reduced[:-1], outer), 0)


def _terms(depth: int, results: int) -> int:
    """How many terms of each sum are written out, where there are no vectors."""
    return next((it for it in _MOST_TERMS if depth % it == 0 and it * results <= _MOST_OPERATIONS), 1)
