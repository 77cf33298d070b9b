"""Activations that are better written in another way than as their converters have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

_LARGE = 20.0  # from here on x · tanh(ln(1 + e^x)) is x to the last bit of float32


def _mish(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """X · tanh(ln(1 + e^x)) with one exponential: x · t / (t + 2), where t = e^x · (e^x + 2)."""
    type_ = scope.type(node.proto.input[0])
    if type_ is None or type_.dtype == "float64":
        return None
    data, two = node.proto.input[0], np.array(2, np.float32)
    nodes = Nodes(scope)
    wide = nodes.add("Cast", data, to=onnx.TensorProto.FLOAT)
    power = nodes.add("Exp", nodes.add("Min", wide, np.array(_LARGE, np.float32)))
    product = nodes.add("Mul", power, nodes.add("Add", power, two))
    ratio = nodes.add("Div", product, nodes.add("Add", product, two))
    result = nodes.add("Mul", wide, ratio)
    dtype = scope.type_proto(data).tensor_type.elem_type
    nodes.add("Cast", result, output=node.proto.output[0], to=dtype)
    return nodes.made


REWRITES: dict[tuple[str, str], Rewrite] = {("", "Mish"): _mish}
