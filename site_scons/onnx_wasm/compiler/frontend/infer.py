"""The types of what a node makes, by ONNX's own inference."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.shape_inference import infer_node_outputs

from onnx_wasm.compiler.frontend.graph import Node, TensorType, dtype_of

_SMALL = 1 << 12


def output_types(
    node: Node,
    inputs: Mapping[str, onnx.TypeProto],
    values: Mapping[str, np.ndarray],
    opsets: Mapping[str, int],
) -> dict[str, onnx.TypeProto]:
    """Infers the types of a node's outputs.

    Args:
        node: The node.
        inputs: The types of its inputs, by name.
        values: Known tensors; shapes often depend on them.
        opsets: The version of each domain's operator set.

    Returns:
        The types, by name; nothing for an operator that ONNX does not define.

    Raises:
        onnx.shape_inference.InferenceError: The node does not fit its operator's definition.
    """
    schema = node.schema
    if schema is None:
        return {}
    data = {
        name: numpy_helper.from_array(values[name], name)
        for name in node.proto.input
        if name in values and values[name].size <= _SMALL
    }
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    found: dict[str, onnx.TypeProto] = infer_node_outputs(schema, node.proto, dict(inputs), data, opset_imports=imports)
    if node.key in _SHAPE_IS_INPUT and len(node.proto.input) > _SHAPE_IS_INPUT[node.key]:
        shape = values.get(node.proto.input[_SHAPE_IS_INPUT[node.key]])
        if shape is not None:
            tensor = inputs[node.proto.input[0]].tensor_type
            found[node.proto.output[0]] = helper.make_tensor_type_proto(tensor.elem_type, shape.tolist())
    return found


_SHAPE_IS_INPUT = {("", "MaxUnpool"): 2}
"""Operators whose inference ONNX leaves undone where the shape is given by an input."""


def static(type_: onnx.TypeProto | None) -> TensorType | None:
    """A type as a tensor's, if it is one of numbers and of static shape."""
    if type_ is None or not type_.HasField("tensor_type"):
        return None
    tensor = type_.tensor_type
    dtype = dtype_of(tensor.elem_type)
    if not dtype or not tensor.HasField("shape"):
        return None
    if not all(it.HasField("dim_value") and it.dim_value >= 0 for it in tensor.shape.dim):
        return None
    return TensorType(dtype, tuple(it.dim_value for it in tensor.shape.dim))


def proto_of(type_: TensorType) -> onnx.TypeProto:
    """A tensor's type as ONNX writes it."""
    return helper.make_tensor_type_proto(helper.np_dtype_to_tensor_dtype(_dtype(type_.dtype)), type_.shape)


def type_of(value: np.ndarray) -> TensorType:
    """The type of a known tensor."""
    return TensorType(str(value.dtype), tuple(value.shape))


def _dtype(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)
