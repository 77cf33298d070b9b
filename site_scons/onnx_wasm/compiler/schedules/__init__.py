"""How each kind of kernel runs: one rule per file, tried in order; the first that takes a kernel schedules it."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from tvm import s_tir, tirx

from onnx_wasm.compiler.schedules import channels, elementwise, gemm, reduction

Rule = Callable[[s_tir.Schedule], bool]
_RULES: tuple[Rule, ...] = (gemm.schedule, channels.schedule, reduction.schedule, elementwise.schedule)


def schedule_kernels(module: tvm.IRModule) -> tvm.IRModule:
    """Schedules every kernel of a module.

    Args:
        module: PrimFuncs as the graph passes and TVM's fusion leave them; other functions are kept.
    """
    functions = {
        var: _scheduled(function) if isinstance(function, tirx.PrimFunc) else function
        for var, function in module.functions.items()
    }
    return tvm.IRModule(functions, attrs=module.attrs)


def _scheduled(function: tirx.PrimFunc) -> tirx.PrimFunc:
    scheduled = next(filter(None, (_by_rule(function, rule) for rule in _RULES)), function)
    missing = {key: value for key, value in function.attrs.items() if key not in scheduled.attrs}
    return scheduled.with_attrs(missing) if missing else scheduled


def _by_rule(function: tirx.PrimFunc, rule: Rule) -> tirx.PrimFunc | None:
    """The kernel as a rule schedules it; None if it is not for this rule, or of a form that it cannot schedule."""
    schedule = s_tir.Schedule(tvm.IRModule({"main": function}))
    try:
        return schedule.mod["main"] if rule(schedule) else None
    except s_tir.ScheduleError:
        return None
