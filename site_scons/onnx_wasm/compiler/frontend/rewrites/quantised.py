"""Products of quantised tensors: sums of integers, then one rounding to the result's scale, half to even, saturated.

What the sums stand in are ConvInteger and MatMulInteger, whose converters keep weights as they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

_FLOAT = onnx.TensorProto.FLOAT


def _conv(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = node.proto.input
    weights, scales = scope.type(w), scope.type(w_scale)
    if weights is None or scales is None:
        return None
    nodes = _nodes(scope)
    spatial = [1] * (len(weights.shape) - 2)
    how = {it.name: onnx.helper.get_attribute_value(it) for it in node.proto.attribute}
    total = nodes.add("ConvInteger", x, w, x_zero, w_zero, **how)
    if bias and bias[0]:
        total = nodes.add("Add", total, nodes.add("Reshape", bias[0], np.array([1, -1, *spatial], np.int64)))
    if scales.shape and scales.shape != (1,):
        w_scale = nodes.add("Reshape", w_scale, np.array([1, -1, *spatial], np.int64))
    _requantised(nodes, total, _scale(nodes, x_scale, w_scale, y_scale), y_zero, node.proto.output[0])
    return nodes.made


def _matmul(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.proto.input
    rows = scope.type(a_scale)
    if rows is None:
        return None
    nodes = _nodes(scope)
    total = nodes.add("MatMulInteger", a, b, a_zero, b_zero)
    if len(rows.shape) == 1 and rows.shape != (1,):
        a_scale = nodes.add("Unsqueeze", a_scale, np.array([-1], np.int64))
    _requantised(nodes, total, _scale(nodes, a_scale, b_scale, y_scale), y_zero, node.proto.output[0])
    return nodes.made


def _nodes(scope: Scope) -> Nodes:
    scope.opsets = {**scope.opsets, "": 18}
    return Nodes(scope)


def _scale(nodes: Nodes, left: str, right: str, result: str) -> str:
    """What a sum of integers is multiplied by."""
    left, right, result = (nodes.add("Cast", it, to=_FLOAT) for it in (left, right, result))
    return nodes.add("Div", nodes.add("Mul", left, right), result)


def _requantised(nodes: Nodes, total: str, scale: str, zero: str, output: str) -> None:
    scaled = nodes.add("Mul", nodes.add("Cast", total, to=_FLOAT), scale)
    nodes.add("QuantizeLinear", scaled, np.float32(1), zero, output=output)


def _blocked(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    """Of scales for blocks of elements, one for each element."""
    size = node.attributes().get("block_size", 0)
    data, scales = scope.type(node.proto.input[0]), scope.type(node.proto.input[1])
    if not size or data is None or scales is None:
        return None
    axis = node.attributes()["axis"] % len(data.shape)
    nodes = Nodes(scope)
    scale, *zero = (
        _spread(nodes, nodes.add("Cast", it, to=_FLOAT), scales.shape, axis, size, data.shape[axis])
        for it in node.proto.input[1:3]
        if it
    )
    if node.proto.op_type == "DequantizeLinear":
        wide = nodes.add("Cast", node.proto.input[0], to=_FLOAT)
        wide = nodes.add("Sub", wide, zero[0]) if zero else wide
        element = scope.type_proto(node.proto.input[1]).tensor_type.elem_type
        nodes.add("Cast", nodes.add("Mul", wide, scale), output=node.proto.output[0], to=element)
        return nodes.made
    given = scope.type_proto(node.proto.input[2]).tensor_type.elem_type if zero else 0
    element = given or node.attributes().get("output_dtype") or onnx.TensorProto.UINT8
    limits = np.iinfo(onnx.helper.tensor_dtype_to_np_dtype(element))
    rounded = nodes.add("Round", nodes.add("Div", nodes.add("Cast", node.proto.input[0], to=_FLOAT), scale))
    moved = nodes.add("Add", rounded, zero[0]) if zero else rounded
    bounded = nodes.add("Clip", moved, np.float32(limits.min), np.float32(limits.max))
    nodes.add("Cast", bounded, output=node.proto.output[0], to=element)
    return nodes.made


def _spread(nodes: Nodes, blocks: str, shape: Sequence[int], axis: int, size: int, extent: int) -> str:
    each = nodes.add("Unsqueeze", blocks, np.array([axis + 1], np.int64))
    wide = nodes.add("Expand", each, np.array([*shape[: axis + 1], size, *shape[axis + 1 :]], np.int64))
    whole = nodes.add("Reshape", wide, np.array([*shape[:axis], shape[axis] * size, *shape[axis + 1 :]], np.int64))
    return nodes.add("Slice", whole, *(np.array([it], np.int64) for it in (0, extent, axis)))


REWRITES: dict[tuple[str, str], Rewrite] = {
    ("", "DequantizeLinear"): _blocked,
    ("", "QLinearConv"): _conv,
    ("", "QLinearMatMul"): _matmul,
    ("", "QuantizeLinear"): _blocked,
}
