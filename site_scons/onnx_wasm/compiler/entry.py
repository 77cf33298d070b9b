"""The functions that run a model ahead of time, on its four areas: inputs, outputs, params, workspace.

``onnx_wasm_run`` runs it. ``onnx_wasm_prepare`` computes once what all runs find in the workspace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import tvm
from tvm import tirx

from onnx_wasm.compiler.plan import AREAS, COPY, Call, Place, Plan, Tensor
from onnx_wasm.compiler.sharing import Route

RUN, PREPARE = "onnx_wasm_run", "onnx_wasm_prepare"


def entry_functions(plan: Plan, routes: Mapping[str, Route]) -> dict[str, tirx.PrimFunc]:
    """Builds both functions of a plan, by their symbols.

    Args:
        plan: What they call, on what.
        routes: How kernels are called that are shared.
    """
    calls = {RUN: plan.calls, PREPARE: plan.preparation}
    return {symbol: _in_turn(its, plan.places, routes) for symbol, its in calls.items()}


def _in_turn(calls: Sequence[Call], places: Mapping[str, Place], routes: Mapping[str, Route]) -> tirx.PrimFunc:
    """Each call in turn, on pointers that are known up to the four areas' addresses.

    Args:
        calls: What it calls.
        places: Of every buffer.
        routes: How kernels are called that are shared.

    Returns:
        A PrimFunc of four pointers that returns 0. Its arity is the same for every model, so that one wrapper serves
        all; a later fifth argument can carry a thread pool without touching the kernels.
    """
    pointer = tvm.ir.PointerType(tvm.ir.PrimType("uint8"))
    areas = {area: tirx.Var(area, pointer) for area in AREAS}

    def address(tensor: Tensor) -> tirx.Expr:
        place = places[tensor.buffer]
        base = areas[place.area]
        return tirx.op.handle_add_byte_offset(base, place.offset) if place.offset else base

    def statement(call: Call) -> tirx.Stmt:
        if call.kernel == COPY:
            (source,), (target,) = call.reads, call.writes
            return _call("handle", "memcpy", address(target), address(source), tirx.const(source.nbytes, "uint32"))
        route = routes.get(call.kernel, Route(call.kernel, ()))
        numbers = (tirx.const(number, "int32") for number in route.numbers)
        return _call("int32", route.symbol, *map(address, (*call.reads, *call.writes)), *numbers)

    end: tirx.Stmt = tirx.Return(tirx.const(0, "int32"))
    body = tirx.SeqStmt([*map(statement, calls), end]) if calls else end
    return tirx.PrimFunc([areas[area] for area in AREAS], body, tvm.ir.PrimType("int32"))


def _call(result: str, symbol: str, *arguments: tirx.Expr) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern(result, symbol, *arguments))
