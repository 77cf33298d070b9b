"""The rule for what else accumulates: sums along the last axis in vector lanes, the rest as it stands."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import LANES, blocks, extent, is_reduction, split_axes, vectorize

_WIDE = 16


def schedule(sch: s_tir.Schedule) -> bool:
    """Schedules a kernel with reductions that no rule before this one took."""
    if not any(is_reduction(sch, block) for block in blocks(sch)):
        return False
    for block in blocks(sch):
        if is_reduction(sch, block):
            _in_lanes(sch, block)
        elif loops := sch.get_loops(block):
            vectorize(sch, loops[-1])
    return True


def _in_lanes(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> None:
    _, reduced = split_axes(sch, block)
    if len(reduced) != 1 or extent(sch, reduced[0]) % LANES:
        return
    lanes = _WIDE if extent(sch, reduced[0]) % _WIDE == 0 else LANES
    _, inner = sch.split(reduced[0], [None, lanes])
    partial = sch.rfactor(inner, 0)
    vectorize(sch, sch.get_loops(partial)[-1], unroll=True)
