"""Operators that are better written as ONNX defines them by others than as their converters have them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _with_statistics(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """The converter gives the normalised tensor alone, not its mean and deviation."""
    return scope.definition(node) if any(node.proto.output[1:]) else None


def _beyond_float32(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """The converter's constants are float32."""
    type_ = scope.type(node.proto.input[0])
    return None if type_ is None or type_.dtype == "float32" else scope.definition(node)


def _of_all_axes(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """The converter's kernel cannot do without a dimension that is left."""
    type_ = scope.type(node.proto.input[0])
    if type_ is None or node.attributes()["axis"] % len(type_.shape):
        return None
    return scope.definition(node)


def _in_halves(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """Of halves, ONNX's evaluator rounds each of the definition's steps; the converter rounds the result alone."""
    type_ = scope.type(node.proto.input[0])
    return scope.definition(node) if type_ is not None and type_.dtype == "float16" else None


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "Elu"): _beyond_float32,
    ("", "LayerNormalization"): _with_statistics,
    ("", "RMSNormalization"): _of_all_axes,
    ("", "Softmax"): _in_halves,
}
