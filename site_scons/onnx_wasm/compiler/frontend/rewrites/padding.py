"""Convolutions and pools whose padding follows from their strides, by the padding that it comes to."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _explicit(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    attributes, type_ = node.attributes(), scope.type(node.proto.input[0])
    how = attributes.get("auto_pad", "NOTSET")
    if how not in ("SAME_UPPER", "SAME_LOWER") or type_ is None:
        return None
    sizes = attributes.get("kernel_shape")
    if sizes is None:
        weights = scope.type(node.proto.input[1])
        if weights is None:
            return None
        sizes = weights.shape[2:]
    before, after = [], []
    rank = len(type_.shape) - 2
    for axis, size in enumerate(sizes):
        stride, dilation = ((attributes.get(name) or [1] * rank)[axis] for name in ("strides", "dilations"))
        extent = type_.shape[axis + 2]
        steps = -(-extent // stride)
        total = max((steps - 1) * stride + (size - 1) * dilation + 1 - extent, 0)
        before.append(total // 2 if how == "SAME_UPPER" else total - total // 2)
        after.append(total - before[-1])
    padded = onnx.NodeProto()
    padded.CopyFrom(node.proto)
    del padded.attribute[:]
    padded.attribute.extend(it for it in node.proto.attribute if it.name not in ("auto_pad", "pads", "ceil_mode"))
    padded.attribute.append(onnx.helper.make_attribute("pads", [*before, *after]))
    return [padded]


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", name): _explicit for name in ("AveragePool", "Conv", "LpPool", "MaxPool")
}
