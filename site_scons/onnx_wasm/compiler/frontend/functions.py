"""Operators that ONNX defines by others: their bodies."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal


def has_body(node: Node) -> bool:
    """Whether ONNX defines a node's operator by others."""
    schema = node.schema
    return schema is not None and bool(schema.has_function or schema.has_context_dependent_function)


def with_defaults(node: Node) -> onnx.NodeProto:
    """A node with the attributes that it leaves to its operator's definition."""
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    given = {it.name for it in proto.attribute}
    schema = node.schema
    attributes = schema.attributes if schema is not None else {}
    proto.attribute.extend(
        it.default_value for name, it in sorted(attributes.items()) if name not in given and it.default_value.name
    )
    return proto


def function_body(node: Node, inputs: Sequence[onnx.TypeProto]) -> onnx.FunctionProto:
    """What a node's operator is in terms of others.

    Args:
        node: The node.
        inputs: The types of its inputs; bodies depend on them.

    Raises:
        Refusal: It has none for these types.
    """
    schema = node.schema
    assert schema is not None
    fixed = [version for version in schema.function_opset_versions if version <= node.opset]
    by_context = [version for version in schema.context_dependent_function_opset_versions if version <= node.opset]
    body = onnx.FunctionProto()
    try:
        if by_context:
            types = [it.SerializeToString() for it in inputs]
            text = schema.get_context_dependent_function_with_opset_version(
                max(by_context), node.proto.SerializeToString(), types
            )
        else:
            text = schema.get_function_with_opset_version(max(fixed))
    except (ValueError, RuntimeError) as error:
        raise Refusal("has no definition by other operators for these types") from error
    body.ParseFromString(text)
    if not body.node:
        raise Refusal("has no definition by other operators for these types")
    return body
