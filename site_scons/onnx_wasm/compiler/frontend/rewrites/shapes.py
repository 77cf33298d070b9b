"""Shape, Size and EyeLike: known as soon as every shape is."""

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


def _eye_like(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None or math.prod(type_.shape) > _LARGEST:
        return None
    attributes = node.attributes()
    wanted = attributes.get("dtype")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(wanted) if wanted else np.dtype(type_.dtype)
    value = np.eye(type_.shape[0], type_.shape[1], k=attributes["k"], dtype=dtype)
    return [splice.identity(scope.constant(value), node.proto.output[0])]


_LARGEST = 1 << 24

REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "EyeLike"): _eye_like,
    ("", "Shape"): _shape,
    ("", "Size"): _size,
}
