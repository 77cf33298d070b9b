"""The rule for kernels without reductions: everything in one nest, four elements at a time."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.schedules.blocks import blocks, inline_all_but, outputs, vectorize


def schedule(sch: s_tir.Schedule) -> bool:
    """Schedules what is left."""
    inline_all_but(sch, outputs(sch))
    for block in blocks(sch):
        if loops := sch.get_loops(block):
            vectorize(sch, loops[-1])
    return True
