"""Operators that only move elements, by those that move them in the plainest way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _depth_to_space(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    n, c, h, w = type_.shape
    attributes = node.attributes()
    size = attributes["blocksize"]
    if attributes.get("mode", "DCR") == "DCR":
        split, order = (n, size, size, c // size**2, h, w), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (n, c // size**2, size, size, h, w), (0, 1, 4, 2, 5, 3)
    return _moved(scope, node, split, order, (n, c // size**2, h * size, w * size))


def _space_to_depth(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    n, c, h, w = type_.shape
    attributes = node.attributes()
    size = attributes["blocksize"]
    split = (n, c, h // size, size, w // size, size)
    order = (0, 3, 5, 1, 2, 4) if attributes.get("mode", "DCR") == "DCR" else (0, 1, 3, 5, 2, 4)
    return _moved(scope, node, split, order, (n, c * size**2, h // size, w // size))


def _moved(
    scope: Scope, node: Node, split: Sequence[int], order: Sequence[int], shape: Sequence[int]
) -> list[onnx.NodeProto]:
    nodes = Nodes(scope)
    scope.opsets = {**scope.opsets, "": 13}
    parts = nodes.add("Reshape", node.proto.input[0], np.array(split, np.int64))
    ordered = nodes.add("Transpose", parts, perm=order)
    nodes.add("Reshape", ordered, np.array(shape, np.int64), output=node.proto.output[0])
    return nodes.made


def _compress(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """By a condition that is known, a Gather."""
    data, condition = node.proto.input
    kept = scope.value(condition)
    if kept is None:
        return None
    nodes = Nodes(scope)
    axis = node.attributes().get("axis")
    if axis is None:
        data = nodes.add("Reshape", data, np.array([-1], np.int64))
    nodes.add("Gather", data, np.flatnonzero(kept).astype(np.int64), output=node.proto.output[0], axis=axis or 0)
    return nodes.made


def _scatter(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    """The old name of ScatterElements."""
    scope.opsets = {**scope.opsets, "": 13}
    names, axis = node.proto, node.attributes()["axis"]
    return [onnx.helper.make_node("ScatterElements", names.input, names.output, axis=axis)]


def _upsample(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """The old name of Resize, with coordinates that Resize calls asymmetric."""
    attributes = node.attributes()
    scales = node.proto.input[1] if len(node.proto.input) > 1 else np.array(attributes.get("scales", ()), np.float32)
    if not isinstance(scales, str) and not scales.size:
        return None
    nodes = Nodes(scope)
    scope.opsets = {**scope.opsets, "": 13}
    nodes.add(
        "Resize",
        node.proto.input[0],
        "",
        scales,
        output=node.proto.output[0],
        mode=attributes["mode"],
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    return nodes.made


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "Compress"): _compress,
    ("", "DepthToSpace"): _depth_to_space,
    ("", "Scatter"): _scatter,
    ("", "SpaceToDepth"): _space_to_depth,
    ("", "Upsample"): _upsample,
}
