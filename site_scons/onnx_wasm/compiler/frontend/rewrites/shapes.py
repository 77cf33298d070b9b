"""Shape and Size: known as soon as every shape is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend import splice
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _shape(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    attributes = node.attributes()
    extents = type_.shape[slice(attributes.get("start", 0), attributes.get("end"))]
    return [splice.identity(scope.constant(np.array(extents, np.int64)), node.proto.output[0])]


def _size(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    return [splice.identity(scope.constant(np.array(math.prod(type_.shape), np.int64)), node.proto.output[0])]


REWRITES: dict[tuple[str, str], Rewrite] = {("", "Shape"): _shape, ("", "Size"): _size}
