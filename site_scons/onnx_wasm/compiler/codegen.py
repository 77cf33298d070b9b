"""Loops → one wasm32 object: C functions for the executor ``aot``, packed functions for ``graph``."""

from __future__ import annotations

from pathlib import Path

import tvm
from tvm import tirx
from tvm.ir.transform import Sequential
from tvm.tirx.build import codegen_build

from onnx_wasm.compiler import entry
from onnx_wasm.compiler.kernels import LOOPS
from onnx_wasm.compiler.plan import Plan
from onnx_wasm.compiler.sharing import Shared

_SYSTEM_LIBRARY_PREFIX = "onnx_wasm_"


def write_c_object(shared: Shared, plan: Plan, target: tvm.target.Target, path: Path) -> None:
    """Compiles kernels and the entry functions that call them to one object.

    Args:
        shared: The kernels.
        plan: What the entry functions call.
        target: From ``targets.wasm_target``.
        path: The object to write.
    """
    entries = entry.entry_functions(plan, shared.routes)
    own = {name: it.with_attr("target", target.with_host(target)) for name, it in entries.items()}
    module = {
        tvm.ir.GlobalVar(name): it.with_attr("global_symbol", name).with_attr("calling_conv", 0)
        for name, it in (shared.functions | own).items()
    }
    _write(tvm.IRModule(module), target, path)


def write_packed_object(module: tvm.IRModule, target: tvm.target.Target, path: Path) -> None:
    """Compiles kernels to packed functions that register themselves with TVM's system library.

    Args:
        module: PrimFuncs.
        target: From ``targets.wasm_target``.
        path: The object to write.
    """
    symbols = tvm.IRModule({var: it.with_attr("global_symbol", var.name_hint) for var, it in module.functions.items()})
    passes = [tirx.transform.BindTarget(target.with_host(target)), *LOOPS, tirx.transform.MakePackedAPI()]
    packed = Sequential(passes)(symbols)
    _write(packed.with_attr("system_lib_prefix", _SYSTEM_LIBRARY_PREFIX), target, path)


def _write(module: tvm.IRModule, target: tvm.target.Target, path: Path) -> None:
    final = Sequential([tirx.transform.LowerTVMBuiltin(), tirx.transform.LowerIntrin()])(module)
    codegen_build(final, target).write_to_file(str(path), "o")
