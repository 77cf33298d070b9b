"""How each kind of kernel runs: one rule per file, tried in order; the first that takes a kernel schedules it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tvm
from tvm import s_tir, tirx

from onnx_wasm.compiler.schedules import channels, depthwise, elementwise, gemm, reduction

RULE = "onnx_wasm.rule"
"""The attribute of a kernel that names the rule which took it; one without it stands as TVM wrote it."""

LEFT = "onnx_wasm.left"
"""The attribute of a kernel that names the blocks which its rule left as TVM wrote them, if there are such."""

Rule = Callable[[s_tir.Schedule], tuple[s_tir.Schedule, list[str]] | None]
"""Schedules a kernel, and names the blocks that it left as they stood; None if the kernel is not for this rule."""

_RULES: Mapping[str, Rule] = {
    "gemm": gemm.schedule,
    "depthwise": depthwise.schedule,
    "channels": channels.schedule,
    "reduction": reduction.schedule,
    "elementwise": elementwise.schedule,
}


def schedule_kernels(module: tvm.IRModule) -> tvm.IRModule:
    """Schedules every kernel of a module, except those that are written as they are to run.

    Args:
        module: PrimFuncs as the graph passes and TVM's fusion leave them; other functions are kept.
    """
    functions = {
        var: _scheduled(function) if isinstance(function, tirx.PrimFunc) and RULE not in function.attrs else function
        for var, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _scheduled(function: tirx.PrimFunc) -> tirx.PrimFunc:
    scheduled = next(filter(None, (_by_rule(function, name) for name in _RULES)), function)
    missing = {key: value for key, value in function.attrs.items() if key not in scheduled.attrs}
    return scheduled.with_attrs(missing) if missing else scheduled


def _by_rule(function: tirx.PrimFunc, name: str) -> tirx.PrimFunc | None:
    """The kernel as a rule schedules it; None if it is not for this rule, or of a form that it cannot schedule."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        result = _RULES[name](schedule)
    except (s_tir.ScheduleError, tvm.error.InternalError):  # TVM's rfactor fails so on some loops of one step
        return None
    if result is None:
        return None
    schedule, left = result
    scheduled = schedule.mod["main"].with_attr(RULE, name)
    return scheduled.with_attr(LEFT, " ".join(left)) if left else scheduled
