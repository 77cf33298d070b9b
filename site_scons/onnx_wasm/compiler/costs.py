"""What each kernel does: its arithmetic, and the rule that scheduled it. For profiles; nothing is compiled from it."""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm.s_tir.analysis import estimate_tir_flops

from onnx_wasm.compiler.schedules import RULE


@dataclass(frozen=True)
class Cost:
    """What a kernel does.

    Args:
        flops: Additions, multiplications and the like on elements, each counted as one.
        rule: The rule that scheduled it; empty if none did.
    """

    flops: int
    rule: str


def costs_of(loops: tvm.IRModule) -> dict[str, Cost]:
    """The cost of each kernel, by its name.

    Args:
        loops: PrimFuncs, scheduled.
    """
    return {
        var.name_hint: Cost(
            int(estimate_tir_flops(tvm.IRModule({"main": function}))), str(function.attrs.get(RULE, ""))
        )
        for var, function in loops.functions.items()
    }
