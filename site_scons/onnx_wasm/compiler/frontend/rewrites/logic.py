"""IsInf, of either sign or of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend import splice
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _is_inf(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    attributes, data, nodes = node.attributes(), node.proto.input[0], Nodes(scope)
    scope.opsets = {**scope.opsets, "": 13}
    signs = [sign for sign, name in ((1, "positive"), (-1, "negative")) if attributes[f"detect_{name}"]]
    found = [nodes.add("Equal", data, np.array(sign * np.inf, type_.dtype)) for sign in signs]
    if not found:
        found = [nodes.add("Not", nodes.add("Equal", data, data)), nodes.add("Equal", data, data)]
        nodes.add("And", *found, output=node.proto.output[0])
    elif len(found) == 1:
        nodes.made.append(splice.identity(found[0], node.proto.output[0]))
    else:
        nodes.add("Or", *found, output=node.proto.output[0])
    return nodes.made


REWRITES: dict[tuple[str, str], Rewrite] = {("", "IsInf"): _is_inf}
