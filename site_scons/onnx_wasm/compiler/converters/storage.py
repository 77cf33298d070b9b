"""Weights that are stored in few bits stay so: what reads them is left to kernels, where TVM's importer computes it."""

from __future__ import annotations

import math

from tvm import relax
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.tvm_own import tvm_convert
from onnx_wasm.compiler.frontend.graph import FEW, NARROW


def _cast(call: Call) -> relax.Expr:
    data, made = call.operand(0), call.types[0]
    is_stored = isinstance(data, GenericConst) and str(data.ty.dtype) in NARROW
    if not is_stored or made is None or math.prod(made.shape) <= FEW or made.dtype not in ("float32", "float64"):
        return tvm_convert(call)
    return call.emit(relax.op.astype(data, made.dtype))


CONVERTERS: dict[tuple[str, str], Converter] = {("", "Cast"): _cast}
