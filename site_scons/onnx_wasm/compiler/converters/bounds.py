"""Clip, in operators that later passes know: activations such as ReLU6 stay in their convolution's kernel."""

from __future__ import annotations

import numpy as np
from tvm import relax
from tvm.ir import GenericConst

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.tvm_own import tvm_convert

_BOUNDS_ARE_INPUTS = 11


def _clip(call: Call) -> relax.Expr:
    data = call.operand(0)
    bounds = _known_bounds(call)
    if bounds is None or np.dtype(str(data.ty.dtype)).kind != "f":
        return tvm_convert(call)
    low, high = bounds
    if -np.inf < low <= high < np.inf:
        return relax.op.clip(data, low, high)
    return tvm_convert(call)


def _known_bounds(call: Call) -> tuple[float, float] | None:
    """The bounds, infinite where there is none; None if only a run knows them."""
    if call.node.opset < _BOUNDS_ARE_INPUTS:
        return float(call.attributes.get("min", -np.inf)), float(call.attributes.get("max", np.inf))
    bounds = []
    for index, none in ((1, -np.inf), (2, np.inf)):
        given = call.input(index)
        if given is not None and not isinstance(given, GenericConst):
            return None
        value = none if given is None else float(given.value.numpy().reshape(-1)[0])
        bounds.append(none if np.isnan(value) else value)
    return bounds[0], bounds[1]


CONVERTERS: dict[tuple[str, str], Converter] = {("", "Clip"): _clip}
