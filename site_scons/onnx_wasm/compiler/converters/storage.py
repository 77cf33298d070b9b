"""Weights that are stored in few bits stay so: what reads them is left to kernels, where TVM's importer computes it."""

from __future__ import annotations

import math

from tvm import relax
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.halves import cast
from onnx_wasm.compiler.frontend.graph import FEW, NARROW


def _cast(call: Call) -> relax.Expr:
    data, made = call.operand(0), call.types[0]
    is_stored = isinstance(data, GenericConst) and str(data.ty.dtype) in NARROW
    if not is_stored or made is None or math.prod(made.shape) <= FEW or made.dtype != "float32":
        return cast(call)
    return call.emit(relax.op.astype(data, made.dtype))


CONVERTERS: dict[tuple[str, str], Converter] = {("", "Cast"): _cast}
