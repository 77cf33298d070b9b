"""CastLike: a Cast, as dtypes are known."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _cast_like(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    source, like = node.proto.input
    dtype = scope.type_proto(like).tensor_type.elem_type
    if dtype == onnx.TensorProto.UNDEFINED:
        return None
    nodes = Nodes(scope)
    rest = {name: node.attributes()[name] for name in ("saturate",) if name in node.attributes() and node.opset >= 19}
    nodes.add("Cast", source, output=node.proto.output[0], to=dtype, **rest)
    return nodes.made


REWRITES: dict[tuple[str, str], Rewrite] = {("", "CastLike"): _cast_like}
