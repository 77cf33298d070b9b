"""TVM's own converters, under the interface of ours."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import helper
from tvm import relax
from tvm.relax.frontend.onnx import onnx_frontend

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.frontend.graph import Node

_OF_OTHERS = frozenset(("Attention",))
"""Operators whose converter is for what another domain calls so."""


def tvm_converter(node: Node) -> Converter | None:
    """TVM's converter for a node, None if it has none. It knows one domain only."""
    domain, operator = node.key
    known = domain == "" and operator not in _OF_OTHERS and operator in onnx_frontend._get_convert_map()  # noqa: SLF001
    return tvm_convert if known else None


def tvm_convert(call: Call) -> relax.Expr:
    """Converts a node as TVM does."""
    proto = call.node.proto
    attributes: dict[str, Any] = {it.name: _attribute(it) for it in proto.attribute}
    attributes["tvm_custom"] = {"name": proto.name, "num_outputs": len(proto.output)}
    function = onnx_frontend._get_convert_map()[proto.op_type].get_converter(call.node.opset)  # noqa: SLF001
    nodes = dict(zip(proto.input, call.inputs, strict=False))
    return function(call.builder, onnx_frontend.onnx_input(call.inputs), attributes, [nodes, {}])


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return tuple(value) if isinstance(value, list) else value
