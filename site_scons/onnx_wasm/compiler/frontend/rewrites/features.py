"""What ai.onnx.ml makes features of: columns beside each other, missing values filled in, categories as vectors.

Definitions: https://onnx.ai/onnx/operators/index.html, domain ai.onnx.ml.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

_FLOAT = onnx.TensorProto.FLOAT


def _imputer(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    attributes, nodes, data = node.attributes(), _nodes(scope), node.proto.input[0]
    kind = "float" if np.dtype(type_.dtype).kind == "f" else "int64"
    new = attributes.get(f"imputed_value_{kind}s")
    missing = attributes.get(f"replaced_value_{kind}", 0)
    if not new:
        raise Refusal("has nothing to put in place of what is missing", "export the model again")
    is_nan = kind == "float" and np.isnan(missing)
    found = nodes.add("IsNaN", data) if is_nan else nodes.add("Equal", data, np.array(missing, type_.dtype))
    nodes.add("Where", found, np.array(new, type_.dtype), data, output=node.proto.output[0])
    return nodes.made


def _vectorizer(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    """Columns of several tensors beside each other, as floats."""
    nodes = _nodes(scope)
    parts = []
    for name in node.proto.input:
        type_ = scope.type(name)
        rows = type_.shape[0] if type_ is not None and len(type_.shape) > 1 else 1
        part = nodes.add("Cast", name, to=_FLOAT)
        parts.append(nodes.add("Reshape", part, np.array([rows, -1], np.int64)))
    nodes.add("Concat", *parts, output=node.proto.output[0], axis=1)
    return nodes.made


def _one_hot(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_, attributes, nodes = scope.type(node.proto.input[0]), node.attributes(), _nodes(scope)
    if type_ is None or not attributes.get("cats_int64s"):
        return None
    if not attributes["zeros"]:
        raise Refusal("ends a run at a category that it does not know", "export it with zeros=1")
    data = nodes.add("Cast", node.proto.input[0], to=onnx.TensorProto.INT64)
    spread = nodes.add("Unsqueeze", data, np.array([-1], np.int64))
    equal = nodes.add("Equal", spread, np.array(attributes["cats_int64s"], np.int64))
    nodes.add("Cast", equal, output=node.proto.output[0], to=_FLOAT)
    return nodes.made


def _nodes(scope: Scope) -> Nodes:
    scope.opsets = {**scope.opsets, "": 18}
    return Nodes(scope)


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("ai.onnx.ml", "FeatureVectorizer"): _vectorizer,
    ("ai.onnx.ml", "Imputer"): _imputer,
    ("ai.onnx.ml", "OneHotEncoder"): _one_hot,
}
