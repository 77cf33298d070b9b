"""The rule for what else accumulates: in vector lanes, along what is summed or beside each other."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import (
    LANES,
    blocks,
    count,
    extent,
    is_reduction,
    name,
    outputs,
    split_axes,
    vectorize,
    whole_apart,
)
from onnx_wasm.compiler.schedules.indices import walk

_WIDE = 16


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel with reductions that no rule before this one took."""
    if not any(is_reduction(sch, block) for block in blocks(sch)):
        return None
    _inline(sch)
    left = []
    for block in blocks(sch):
        if not is_reduction(sch, block):
            _in_vectors(sch, block)
        elif not (_beside(sch, block) or _in_lanes(sch, block)):
            left.append(name(sch, block))
    return sch, left


def _inline(sch: s_tir.Schedule) -> None:
    """Computes where it is used what is used once, by one block, for each element."""
    kept = outputs(sch)
    for block in blocks(sch):
        consumers = sch.get_consumers(block)
        if name(sch, block) in kept or is_reduction(sch, block) or len(consumers) != 1:
            continue
        if count(sch, sch.get_loops(block)) >= count(sch, sch.get_loops(consumers[0])):
            sch.compute_inline(block)


def _in_vectors(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> None:
    loops = sch.get_loops(block)
    if not loops or vectorize(sch, loops[-1]) or extent(sch, loops[-1]) < _WIDE:
        return
    elements = extent(sch, loops[-1])
    vectors, lane = sch.split(loops[-1], [None, LANES])
    sch.vectorize(lane)
    whole_apart(sch, vectors, elements, LANES)


def _beside(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> bool:
    """Accumulates neighbouring results in the lanes, if they are what stands in sequence."""
    spatial, reduced = split_axes(sch, block)
    if not spatial or extent(sch, spatial[-1]) % LANES:
        return False
    its = walk(sch.get(block))
    last = len(spatial) - 1
    if any(len(factors) > 1 for factors in its.factors) or any(
        it is None or it[last] not in (0, 1) for it in its.steps
    ):
        return False
    if not all(it[last] == 1 for it in its.steps if it is not None and any(it[len(spatial) :])):
        return False
    results, lanes = sch.split(spatial[-1], [None, _WIDE if extent(sch, spatial[-1]) % _WIDE == 0 else LANES])
    sch.reorder(*spatial[:-1], results, *reduced, lanes)
    vectorize(sch, lanes, unroll=True)
    start = sch.decompose_reduction(block, reduced[0])
    vectorize(sch, sch.get_loops(start)[-1], unroll=True)
    return True


def _in_lanes(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> bool:
    """Accumulates parts of each result in the lanes, and then those."""
    _, reduced = split_axes(sch, block)
    along = sch.fuse(*reduced) if len(reduced) > 1 else reduced[0]
    terms = extent(sch, along)
    if terms % LANES and (terms < _WIDE or len(sch.get(block).writes) > 1):
        return False  # of several results that come together TVM names each once: there can be no rest of such a loop
    lanes = LANES if terms % LANES == 0 and terms % _WIDE else _WIDE
    vectors, inner = sch.split(along, [None, lanes])
    partial = sch.rfactor(inner, 0)
    *_, vectors, inner = sch.get_loops(partial)
    vectorize(sch, inner, unroll=True)
    if terms % lanes:
        start = sch.decompose_reduction(partial, vectors)
        vectorize(sch, sch.get_loops(start)[-1], unroll=True)
        whole_apart(sch, vectors, terms, lanes)
    return True
