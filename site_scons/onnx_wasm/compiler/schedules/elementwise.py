"""The rule for kernels without reductions: everything in one nest, four elements at a time."""

from __future__ import annotations

import math

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import blocks, extent, inline_all_but, name, outputs, vectorize

_FEW = 1 << 16
"""Elements that it does not matter to compute one by one."""


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]]:
    """Schedules what is left."""
    inline_all_but(sch, outputs(sch))
    left = []
    for block in blocks(sch):
        loops = sch.get_loops(block)
        elements = math.prod(extent(sch, loop) for loop in loops)
        if loops and not vectorize(sch, loops[-1]) and elements > _FEW:
            left.append(name(sch, block))
    return sch, left
