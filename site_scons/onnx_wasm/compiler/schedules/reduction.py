"""The rule for what else accumulates: sums along the last axis in vector lanes, the rest as it stands."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import LANES, blocks, extent, is_reduction, name, split_axes, vectorize

_WIDE = 16


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel with reductions that no rule before this one took."""
    if not any(is_reduction(sch, block) for block in blocks(sch)):
        return None
    left = []
    for block in blocks(sch):
        if is_reduction(sch, block):
            left += [] if _in_lanes(sch, block) else [name(sch, block)]
        elif loops := sch.get_loops(block):
            vectorize(sch, loops[-1])
    return sch, left


def _in_lanes(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> bool:
    _, reduced = split_axes(sch, block)
    if len(reduced) != 1 or extent(sch, reduced[0]) % LANES:
        return False
    lanes = _WIDE if extent(sch, reduced[0]) % _WIDE == 0 else LANES
    _, inner = sch.split(reduced[0], [None, lanes])
    partial = sch.rfactor(inner, 0)
    vectorize(sch, sch.get_loops(partial)[-1], unroll=True)
    return True
