"""What the rules ask of a schedule, and the loop transformations that they share."""

from __future__ import annotations

import math
from collections.abc import Iterable

import tvm_ffi
from tvm import s_tir, sym, tirx

LANES = 4
"""The number of 32-bit elements in a vector register."""

APART = "pragma_loop_partition_hint"
"""TVM's annotation of a loop that is to be several, one for each way its conditions go."""

_MOST_WRITTEN_OUT = 1024
"""Elements of a nest of loops above which it is not written out."""


def blocks(schedule: s_tir.Schedule) -> list[s_tir.schedule.SBlockRV]:
    """All blocks of the kernel, in order."""
    return list(schedule.get_child_blocks(schedule.get_sblock("root")))


def name(schedule: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> str:
    """A block's name."""
    return str(schedule.get(block).name_hint)


def outputs(schedule: s_tir.Schedule) -> set[str]:
    """The names of the blocks that write the kernel's outputs."""
    return {name(schedule, block) for block in schedule.get_output_blocks(schedule.get_sblock("root"))}


def extent(schedule: s_tir.Schedule, loop: s_tir.schedule.LoopRV) -> int:
    """A loop's extent."""
    return int(schedule.get(loop).extent)


def count(schedule: s_tir.Schedule, loops: Iterable[s_tir.schedule.LoopRV]) -> int:
    """How often what stands in all of these loops is run."""
    return math.prod(extent(schedule, loop) for loop in loops)


def is_reduction(schedule: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> bool:
    """Whether a block accumulates."""
    return any(it.iter_type == tirx.IterVar.CommReduce for it in schedule.get(block).iter_vars)


def split_axes(
    schedule: s_tir.Schedule, block: s_tir.schedule.SBlockRV
) -> tuple[list[s_tir.schedule.LoopRV], list[s_tir.schedule.LoopRV]]:
    """A block's loops: those over its results, and those that it accumulates over."""
    pairs = list(zip(schedule.get_loops(block), schedule.get(block).iter_vars, strict=True))
    spatial = [loop for loop, it in pairs if it.iter_type != tirx.IterVar.CommReduce]
    return spatial, [loop for loop, it in pairs if it.iter_type == tirx.IterVar.CommReduce]


def inline_all_but(schedule: s_tir.Schedule, kept: set[str]) -> None:
    """Computes every other block where it is used."""
    for block in blocks(schedule):
        if name(schedule, block) not in kept:
            schedule.compute_inline(block)


def anchored(schedule: s_tir.Schedule, kind: str) -> tuple[s_tir.schedule.SBlockRV, s_tir.schedule.SBlockRV] | None:
    """A kernel reduced to two blocks: its anchor, and the one that writes its output, with all between them inlined.

    Args:
        schedule: The kernel.
        kind: The anchor's name.

    Returns:
        Both, or None if the kernel has no such anchor.
    """
    anchor = next((block for block in blocks(schedule) if name(schedule, block) == kind), None)
    if anchor is None:
        return None
    (last,) = outputs(schedule)
    inline_all_but(schedule, {kind, last})
    return anchor, schedule.get_sblock(last)


def simplified(
    schedule: s_tir.Schedule, names: tuple[str, ...]
) -> tuple[s_tir.Schedule, list[s_tir.schedule.SBlockRV]]:
    """A kernel with its indices simplified, and some of its blocks in it, by name."""
    after = s_tir.Schedule(s_tir.transform.StmtSimplify()(schedule.mod))
    return after, [after.get_sblock(it) for it in names]


def in_groups(schedule: s_tir.Schedule, block: s_tir.schedule.SBlockRV, each: int) -> None:
    """Lets a block go through its last axis in groups of ``each``: divisions by that are known then."""
    axes = len(schedule.get(block).iter_vars)
    groups = tirx.IndexMap.from_func(lambda *at: (*at[:-1], at[-1] // each, at[-1] % each), axes)
    schedule.transform_block_layout(block, groups)
    before, known = schedule.get(block), sym.Analyzer()
    for axis in before.iter_vars:
        known.bind(axis.var, axis.dom)
    divisions = (tirx.FloorDiv, tirx.FloorMod)
    after = tvm_ffi.structural_mutate(before, ((divisions, lambda it, _: known.simplify(it)),))
    schedule.state.replace(schedule.get_sref(block), after, {before: after})


def vectorize(schedule: s_tir.Schedule, loop: s_tir.schedule.LoopRV, *, unroll: bool = False) -> bool:
    """Runs a loop four elements at a time, if its extent allows; ``unroll`` writes the rest of the loop out.

    Returns:
        Whether it allows.
    """
    elements = extent(schedule, loop)
    if elements % LANES:
        if unroll:
            schedule.unroll(loop)
        return False
    if elements == LANES:
        schedule.vectorize(loop)
        return True
    outer, inner = schedule.split(loop, [None, LANES])
    schedule.vectorize(inner)
    if unroll:
        schedule.unroll(outer)
    return True


def whole_apart(schedule: s_tir.Schedule, loop: s_tir.schedule.LoopRV, elements: int, step: int) -> None:
    """Makes a loop of its own of the last turn, if ``elements`` in steps of ``step`` leave it incomplete.

    TVM divides the condition by common factors, and then does not find by itself where it turns.
    """
    if elements % step and elements > step:
        schedule.loop_partition(loop, [elements // step, None])


def write_out(schedule: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV]) -> None:
    """Writes a small nest out: vectors along the last loop, the others unrolled.

    Of a large one, as where a tile of one row is spread over many, the outer loops stay.
    """
    written = 1
    for loop in reversed(loops):
        written *= extent(schedule, loop)
        if written > _MOST_WRITTEN_OUT:
            break
        if loop is not loops[-1] and int(schedule.get(loop).kind) != int(tirx.ForKind.UNROLLED):
            schedule.unroll(loop)
    if loops and int(schedule.get(loops[-1]).kind) != int(tirx.ForKind.VECTORIZED):
        vectorize(schedule, loops[-1], unroll=True)
