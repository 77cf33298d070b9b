"""Normalisations that TVM has not: by norms, and by the statistics of the batch itself; and Dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend import splice
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope


def _lp(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    type_ = scope.type(node.proto.input[0])
    if type_ is None:
        return None
    attributes, data = node.attributes(), node.proto.input[0]
    nodes = Nodes(scope)
    scope.opsets = {**scope.opsets, "": 18}
    norm = nodes.add(f"ReduceL{attributes['p']}", data, np.array([attributes["axis"]], np.int64), keepdims=1)
    zero = nodes.add("Equal", norm, np.zeros((), type_.dtype))
    divisor = nodes.add("Where", zero, np.ones((), type_.dtype), norm)  # zeros stay zeros
    nodes.add("Div", data, divisor, output=node.proto.output[0])
    return nodes.made


def _batch(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """In training mode the statistics are the batch's, and the running ones are outputs."""
    attributes = node.attributes()
    type_ = scope.type(node.proto.input[0])
    if not attributes.get("training_mode") or type_ is None:
        return None
    data, scale, bias, running_mean, running_variance = node.proto.input
    nodes = Nodes(scope)
    scope.opsets = {**scope.opsets, "": 18}
    axes = np.array([it for it in range(len(type_.shape)) if it != 1], np.int64)
    spread = np.array([-1, *[1] * (len(type_.shape) - 2)], np.int64)
    mean = nodes.add("ReduceMean", data, axes, keepdims=1)
    centred = nodes.add("Sub", data, mean)
    variance = nodes.add("ReduceMean", nodes.add("Mul", centred, centred), axes, keepdims=1)
    deviation = nodes.add("Sqrt", nodes.add("Add", variance, np.array(attributes["epsilon"], type_.dtype)))
    scaled = nodes.add("Mul", nodes.add("Div", centred, deviation), nodes.add("Reshape", scale, spread))
    nodes.add("Add", scaled, nodes.add("Reshape", bias, spread), output=node.proto.output[0])
    momentum = attributes["momentum"]
    for output, running, own in zip(
        node.proto.output[1:], (running_mean, running_variance), (mean, variance), strict=False
    ):
        dtype = getattr(scope.type(running), "dtype", type_.dtype)
        kept = nodes.add("Mul", running, np.array(momentum, dtype))
        flat = nodes.add("Reshape", own, np.array([-1], np.int64))
        new = nodes.add("Mul", flat, np.array(1 - momentum, dtype))
        nodes.add("Add", kept, new, output=output)
    return nodes.made


def _dropout(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """At inference nothing is dropped."""
    data, *rest = node.proto.input
    training = scope.value(rest[1]) if len(rest) > 1 and rest[1] else np.array(False)
    ratio = scope.value(rest[0]) if rest and rest[0] else np.array(0.5)
    if training is None or (training.any() and (ratio is None or ratio.any())):
        raise Refusal("drops elements at random, as only training does", "export the model for inference")
    nodes = [splice.identity(data, node.proto.output[0])]
    type_ = scope.type(data)
    if any(node.proto.output[1:]):
        if type_ is None:
            raise Refusal("only its first output can be computed")
        more = Nodes(scope)
        more.add(
            "ConstantOfShape",
            np.array(type_.shape, np.int64),
            output=node.proto.output[1],
            value=onnx.numpy_helper.from_array(np.ones(1, type_.dtype if node.opset < _MASK_IS_BOOL else bool)),
        )
        nodes += more.made
    return nodes


_MASK_IS_BOOL = 10

REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "BatchNormalization"): _batch,
    ("", "Dropout"): _dropout,
    ("", "LpNormalization"): _lp,
}
