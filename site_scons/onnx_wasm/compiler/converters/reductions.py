"""Reductions where TVM's are wrong or missing: of truth values, of nothing, and of infinities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.indexing import extents

_AXES_ARE_INPUTS = {"ReduceMax": 18, "ReduceMin": 18}


def _extreme(operator: str) -> Converter:
    """The greatest or the smallest element, starting from an infinity where the dtype has one."""
    greatest = operator == "ReduceMax"

    def convert(call: Call) -> relax.Expr:
        data, keep = call.operand(0), call.attributes["keepdims"]
        shape = [int(it) for it in data.ty.shape.values]
        axes = _axes(call, len(shape), _AXES_ARE_INPUTS[operator])
        if not axes:
            return data
        is_bool = str(data.ty.dtype) == "bool"
        if is_bool:
            data = call.emit(relax.op.astype(data, "uint8"))
        result = call.kernel(_reduced(axes, bool(keep), greatest), data)
        return call.emit(relax.op.astype(result, "bool")) if is_bool else result

    return convert


def _axes(call: Call, rank: int, since: int) -> list[int]:
    given: Any = call.value(1) if call.node.opset >= since else call.attributes.get("axes")
    axes = [] if given is None else [int(it) % rank for it in given]
    if axes or call.attributes.get("noop_with_empty_axes"):
        return sorted(set(axes))
    return list(range(rank))


def _reduced(axes: list[int], keep: bool, greatest: bool) -> Callable[[te.Tensor], te.Tensor]:
    def compute(x: te.Tensor) -> te.Tensor:
        shape = extents(x)
        over = {axis: te.reduce_axis((0, shape[axis]), f"k{axis}") for axis in axes}
        kept = [axis for axis in range(len(shape)) if axis not in over]
        reducer = te.comm_reducer(
            lambda a, b: tirx.max(a, b) if greatest else tirx.min(a, b),
            lambda dtype: _start(str(dtype), greatest=greatest),
            "extreme",
        )

        def element(*indices: tirx.Expr) -> tirx.Expr:
            own = dict(enumerate(indices)) if keep else dict(zip(kept, indices, strict=True))
            return reducer(x(*(over.get(axis, own.get(axis)) for axis in range(len(shape)))), axis=list(over.values()))

        result = [1 if axis in over else extent for axis, extent in enumerate(shape)]
        return te.compute(result if keep else [shape[axis] for axis in kept], element)

    return compute


def _start(dtype: str, *, greatest: bool) -> tirx.Expr:
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return tirx.const(-np.inf if greatest else np.inf, dtype)
    limits = np.iinfo(kind)
    return tirx.const(int(limits.min if greatest else limits.max), dtype)


CONVERTERS: dict[tuple[str, str], Converter] = {("", name): _extreme(name) for name in ("ReduceMax", "ReduceMin")}
