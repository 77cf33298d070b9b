"""What each kernel does: its arithmetic, and the rule that scheduled it. For profiles; nothing is compiled from it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm import s_tir, tirx
from tvm.s_tir.analysis import estimate_tir_flops

from onnx_wasm.compiler.anchors.gemm import GEMM
from onnx_wasm.compiler.anchors.integers import are_words
from onnx_wasm.compiler.schedules import LEFT, RULE
from onnx_wasm.compiler.schedules.blocks import blocks

_PER_DOT = 3
"""Operations of one: two products and their sum."""


@dataclass(frozen=True)
class Cost:
    """What a kernel does.

    Args:
        flops: Additions, multiplications and the like on elements, each counted as one; 0 for a kernel that serves
            tensors of any extents.
        rule: The rule that scheduled it; empty if none did.
        left: The blocks that the rule left as TVM wrote them, with spaces between.
    """

    flops: int
    rule: str
    left: str


def costs_of(loops: tvm.IRModule) -> dict[str, Cost]:
    """The cost of each kernel, by its name.

    Args:
        loops: PrimFuncs, scheduled.
    """
    return {
        var.name_hint: Cost(_flops(it), *(str(it.attrs.get(key, "")) for key in (RULE, LEFT)))
        for var, it in loops.functions.items()
    }


def _flops(function: tirx.PrimFunc) -> int:
    extents = [extent for buffer in function.params for extent in buffer.shape]
    if not all(isinstance(extent, tirx.IntImm) for extent in extents):
        return 0
    module = tvm.IRModule({"main": function})
    dots = _dots(s_tir.Schedule(module)) if function.attrs.get(RULE, "") == GEMM else 0
    return int(estimate_tir_flops(module)) + _PER_DOT * dots


def _dots(schedule: s_tir.Schedule) -> int:
    """How often a kernel multiplies two pairs of integers, which TVM does not count."""
    return sum(
        math.prod(int(it.dom.extent) for it in block.iter_vars)
        for block in map(schedule.get, blocks(schedule))
        if block.init is None and any(are_words(str(it.source.ty.dtype)) for it in block.reads)
    )
