"""The rule for kernels without reductions: everything in one nest, four elements at a time, whatever moves where."""

from __future__ import annotations

import itertools
import math

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import (
    APART,
    LANES,
    blocks,
    count,
    extent,
    inline_all_but,
    name,
    outputs,
    simplified,
)
from onnx_wasm.compiler.schedules.indices import Walk, walk

_FEW = 1 << 16
"""Elements that it does not matter to compute one by one."""

_SHORT = 8
"""A loop that is written out if it cannot be a vector."""

_LONG = 8
"""A loop that is worth a vector and a rest."""

_MANY = 16
"""More parts of a loop than are written."""


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]]:
    """Schedules what is left."""
    inline_all_but(sch, outputs(sch))
    sch, found = simplified(sch, tuple(name(sch, block) for block in blocks(sch)))
    left = [name(sch, block) for block in found if not _nest(sch, block)]
    return sch, left


def _nest(sch: s_tir.Schedule, block: s_tir.schedule.SBlockRV) -> bool:
    """Schedules a block; whether it is done, or so small that it does not matter."""
    whole = sch.get_loops(block)
    if not whole:
        return True  # a number
    its = walk(sch.get(block))
    loops = [
        part
        for loop, factors in zip(whole, its.factors, strict=True)
        for part in (sch.split(loop, list(factors)) if len(factors) > 1 else [loop])
    ]
    kept = [index for index, loop in enumerate(loops) if extent(sch, loop) > 1]
    if not kept:
        return True
    elements = count(sch, loops)
    last = kept[-1]
    if all(steps is not None and steps[last] in (0, 1) for steps in its.steps):
        done = _in_vectors(sch, loops, kept, its)
    elif (along := _along(sch, loops, kept, its)) is not None:
        done = _in_squares(sch, loops, along, last)
    else:
        done = extent(sch, loops[last]) <= _SHORT
        if done:
            sch.unroll(loops[last])
            _apart(sch, loops, kept[:-1], its)
    return done or elements <= _FEW


def _in_vectors(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV], kept: list[int], its: Walk) -> bool:
    """Runs the last loop in vectors, with those around it that go on where it ends, if that helps."""
    *outer, last = kept
    loop = loops[last]
    while outer and extent(sch, loop) % LANES and _goes_on(outer[-1], last, extent(sch, loop), its):
        loop = sch.fuse(loops[outer.pop()], loop)
    elements = extent(sch, loop)
    if elements % LANES and elements < _LONG:
        _apart(sch, loops, outer, its)
        return False
    vectors, lane = sch.split(loop, [None, LANES])
    sch.vectorize(lane)
    parts = _parts(its.ends, elements)
    if 1 < len(parts) <= _MANY:
        sch.loop_partition(vectors, parts)
    elif last in its.asked:
        sch.annotate(vectors, APART, 1)
    else:
        _apart(sch, loops, outer, its)
    return True


def _parts(ends: frozenset[int], elements: int) -> list[int | None]:
    """How many vectors there are between those in which conditions turn; none if they turn between vectors only.

    TVM divides conditions by common factors, and then no longer finds where they turn within a vector.
    """
    inside = {end for end in (*ends, elements) if 0 < end <= elements}
    if all(end % LANES == 0 for end in inside):
        return []
    vectors = math.ceil(elements / LANES)
    starts = sorted({0, *(at for end in inside for at in (end // LANES, math.ceil(end / LANES)) if at < vectors)})
    return [*(after - before for before, after in itertools.pairwise(starts)), None]


def _goes_on(outer: int, inner: int, length: int, its: Walk) -> bool:
    """Whether one loop is a continuation of another, for all that is read."""
    if {outer, inner} & its.asked:
        return False
    return all(steps is not None and steps[outer] == steps[inner] * length for steps in its.steps)


def _along(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV], kept: list[int], its: Walk) -> int | None:
    """The loop along which is in sequence what is not along the last one."""
    last = kept[-1]
    if extent(sch, loops[last]) < LANES:
        return None
    across = [steps for steps in its.steps if steps is not None and steps[last] not in (0, 1)]
    return next((it for it in kept[:-1] if any(s[it] == 1 for s in across) and extent(sch, loops[it]) >= LANES), None)


def _in_squares(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV], along: int, last: int) -> bool:
    """Transposes squares of vectors."""
    wholes = [extent(sch, loops[it]) for it in (along, last)]
    lines, line = sch.split(loops[along], [None, LANES])
    vectors, lane = sch.split(loops[last], [None, LANES])
    sch.reorder(vectors, lines, line, lane)
    for loop, whole in zip((lines, vectors), wholes, strict=True):
        if whole % LANES:
            sch.annotate(loop, APART, 1)
    sch.unroll(line)
    sch.vectorize(lane)
    return True


def _apart(sch: s_tir.Schedule, loops: list[s_tir.schedule.LoopRV], outer: list[int], its: Walk) -> None:
    """Makes several loops of the innermost one that conditions depend on."""
    asked = [it for it in outer if it in its.asked]
    if asked:
        sch.annotate(loops[asked[-1]], APART, 1)
