"""The one function that runs a model ahead of time: ``onnx_wasm_run(inputs, outputs, params, workspace)``."""

from __future__ import annotations

import tvm
from tvm import tirx

from onnx_wasm.compiler.plan import AREAS, COPY, Call, Plan, Tensor

SYMBOL = "onnx_wasm_run"


def entry_function(plan: Plan) -> tirx.PrimFunc:
    """Builds the entry: each call of the plan in turn, on pointers that are known up to the four areas' addresses.

    Args:
        plan: The compiled graph.

    Returns:
        A PrimFunc of four pointers that returns 0. Its arity is the same for every model, so that one wrapper serves
        all; a later fifth argument can carry a thread pool without touching the kernels.
    """
    pointer = tvm.ir.PointerType(tvm.ir.PrimType("uint8"))
    areas = {area: tirx.Var(area, pointer) for area in AREAS}

    def address(tensor: Tensor) -> tirx.Expr:
        place = plan.places[tensor.buffer]
        base = areas[place.area]
        return tirx.op.handle_add_byte_offset(base, place.offset) if place.offset else base

    def statement(call: Call) -> tirx.Stmt:
        if call.kernel == COPY:
            (source,), (target,) = call.reads, call.writes
            return _call("handle", "memcpy", address(target), address(source), tirx.const(source.nbytes, "uint32"))
        return _call("int32", call.kernel, *map(address, (*call.reads, *call.writes)))

    body = tirx.SeqStmt([*map(statement, plan.calls), tirx.Return(tirx.const(0, "int32"))])
    return tirx.PrimFunc([areas[area] for area in AREAS], body, tvm.ir.PrimType("int32"))


def _call(result: str, symbol: str, *arguments: tirx.Expr) -> tirx.Stmt:
    return tirx.Evaluate(tirx.call_extern(result, symbol, *arguments))
