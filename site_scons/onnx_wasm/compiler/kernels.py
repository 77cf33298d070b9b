"""Kernels as C functions: pointers in place of buffers, and their large temporaries in storage that the plan owns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import tvm
from tvm import s_tir, tirx
from tvm.ir.transform import Sequential
from tvm_ffi import DLDeviceType

from onnx_wasm.compiler import memory
from onnx_wasm.compiler.walking import walk

# LowerTVMBuiltin keeps on the stack what is smaller (kMaxStackAlloca in TVM's runtime), and allocates the rest; and
# what has no elements.
_STACK_LIMIT = 1024

# TVM's own S-TIR pipeline (tvm/s_tir/pipeline.py), less what only accelerators need.
LOOPS = (
    s_tir.transform.CanonicalizeLoop(),
    s_tir.transform.LowerInitBlock(),
    s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
    s_tir.transform.ConvertBlocksToOpaque(),
    s_tir.transform.CompactBufferAllocation(),
    s_tir.transform.LowerMatchBuffer(),
    s_tir.transform.StmtSimplify(),
    s_tir.transform.AnnotateIrregularLoop(),
    s_tir.transform.LowerOpaqueBlock(),
    tirx.transform.FlattenBuffer(),
    tirx.transform.BF16ComputeLegalize(),
    tirx.transform.NarrowDataType(32),
    s_tir.transform.LoopPartition(),
    # TVM does this later: but vectors are made of what need not ask where it is, and that the copies of a loop know.
    tirx.transform.UnrollLoop(),
    tirx.transform.StmtSimplify(),
    tirx.transform.VectorizeLoop(True),
    tirx.transform.StorageRewrite(),
    s_tir.transform.HoistIfThenElse(),
    s_tir.transform.RenormalizeSplitPattern(),
    tirx.transform.StmtSimplify(),
    tirx.transform.RemoveNoOp(),
    s_tir.transform.RewriteUnsafeSelect(),
    tirx.transform.prim_func_pass(lambda function, *_: walk(function), opt_level=0, name="Walk"),
    tirx.transform.CommonSubexprElim(),
    tirx.transform.VerifyMemory(),
)


@dataclass(frozen=True)
class Kernel:
    """A kernel as a C function ``i32 name(pointers…)``.

    Args:
        function: Its PrimFunc.
        scratch: Bytes of the temporaries that it keeps outside the stack; if there are any, a pointer to
            them is its last parameter.
    """

    function: tirx.PrimFunc
    scratch: int


def as_c_functions(module: tvm.IRModule, target: tvm.target.Target) -> dict[str, Kernel]:
    """Lowers kernels to loops over pointers.

    Args:
        module: PrimFuncs.
        target: What they will be compiled for.

    Returns:
        A kernel for each, by name.
    """
    lowered = Sequential([tirx.transform.BindTarget(target.with_host(target)), *LOOPS])(module)
    return {var.name_hint: _as_c_function(function) for var, function in lowered.functions.items()}


def _as_c_function(function: tirx.PrimFunc) -> Kernel:
    parameters = [_pointer(buffer.name, str(buffer.ty.dtype)) for buffer in function.params]
    declarations = [tirx.DeclBuffer(it, data=to) for it, to in zip(function.params, parameters, strict=True)]
    scratch = _pointer("scratch", "uint8")
    hoisted = _Hoister(scratch)
    body: tirx.Stmt = tirx.SeqStmt(
        [*declarations, hoisted.statement(function.body), tirx.Return(tirx.const(0, "int32"))]
    )
    for key, value in (("device_id", 0), ("device_type", DLDeviceType.kDLCPU)):  # LowerTVMBuiltin asks for both
        body = tirx.AttrStmt(tvm.ir.StringImm("default"), key, tirx.const(int(value), "int32"), body)
    if hoisted.size:
        parameters.append(scratch)
    return Kernel(tirx.PrimFunc(parameters, body, tvm.ir.PrimType("int32"), attrs=function.attrs), hoisted.size)


def _pointer(name: str, dtype: str) -> tirx.Var:
    return tirx.Var(f"{name}_pointer", tvm.ir.PointerType(tvm.ir.PrimType(dtype), "global"))


class _Hoister:
    """Turns every large temporary into a buffer at a fixed offset of ``scratch``."""

    def __init__(self, scratch: tirx.Var) -> None:
        self.size = 0
        self._scratch = scratch

    def statement(self, it: tirx.Stmt) -> tirx.Stmt:
        if isinstance(it, tirx.AllocBuffer):
            return self._allocation(it)
        if isinstance(it, tirx.SeqStmt):
            return tirx.SeqStmt([self.statement(each) for each in it.seq])
        if isinstance(it, tirx.For):
            body = self.statement(it.body)
            return tirx.For(it.loop_var, it.min, it.extent, it.kind, body, it.thread_binding, it.annotations, it.step)
        if isinstance(it, tirx.While):
            return tirx.While(it.condition, self.statement(it.body))
        if isinstance(it, tirx.IfThenElse):
            otherwise = self.statement(it.else_case) if it.else_case is not None else None
            return tirx.IfThenElse(it.condition, self.statement(it.then_case), otherwise)
        if isinstance(it, tirx.AttrStmt):
            return tirx.AttrStmt(it.node, it.attr_key, it.value, self.statement(it.body))
        return it

    def _allocation(self, it: tirx.AllocBuffer) -> tirx.Stmt:
        nbytes = math.prod(int(extent) for extent in it.buffer.shape) * tvm.DataType(it.buffer.dtype).itemsize
        if 0 < nbytes < _STACK_LIMIT:
            return it
        offset = self.size
        self.size += memory.aligned(max(nbytes, 1))
        return tirx.DeclBuffer(it.buffer, data=tirx.op.handle_add_byte_offset(self._scratch, offset))
