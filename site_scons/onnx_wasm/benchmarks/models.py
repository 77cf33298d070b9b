"""The models that speed is measured on: known architectures, with random weights made here from a seed.

The onnx package holds the architectures without their weights: a ConstantOfShape stands for each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_SEED = 0
_LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
_SPREAD = 0.1
_BATCH_NORM: Mapping[int, Callable[[np.random.Generator, list[int]], np.ndarray]] = {
    1: lambda random, shape: 1 + _SPREAD * random.standard_normal(shape),
    2: lambda random, shape: _SPREAD * random.standard_normal(shape),
    3: lambda random, shape: _SPREAD * random.standard_normal(shape),
    4: lambda random, shape: 1 + random.random(shape) / 3,
}
"""How each operand of a BatchNormalization is drawn: scale, bias, mean, variance."""


def light(name: str) -> onnx.ModelProto:
    """One of the onnx package's light models, with weights.

    What its last Softmax reads is an output too: with such weights its result is all but 0 or 1, and hides every error.

    Args:
        name: As in its file, ``light_<name>.onnx``.
    """
    model = onnx.load(_LIGHT / f"light_{name}.onnx")
    graph, random = model.graph, np.random.default_rng(_SEED)
    shapes = {it.name: numpy_helper.to_array(it).tolist() for it in graph.initializer}
    users = {read: (node.op_type, index) for node in graph.node for index, read in enumerate(node.input)}
    drawn, kept = [], []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in shapes:
            values = _weights(random, shapes[node.input[0]], *users[node.output[0]])
            drawn.append(numpy_helper.from_array(values.astype("float32"), node.output[0]))
        else:
            kept.append(node)
    used = {read for node in kept for read in node.input}
    constants = [it for it in graph.initializer if it.name in used]
    inputs = [it for it in graph.input if it.name in used and it.name not in shapes]
    for field, its in ((graph.node, kept), (graph.initializer, [*constants, *drawn]), (graph.input, inputs)):
        del field[:]
        field.extend(its)
    last = graph.node[-1]
    if last.op_type == "Softmax":
        if not last.attribute:  # the default of old opsets, which ONNX's evaluator does not know
            last.attribute.append(helper.make_attribute("axis", 1))
        shape = [it.dim_value for it in graph.output[0].type.tensor_type.shape.dim]
        graph.output.append(helper.make_tensor_value_info(last.input[0], TensorProto.FLOAT, shape))
    return model


def _weights(random: np.random.Generator, shape: list[int], operator: str, operand: int) -> np.ndarray:
    if operator == "BatchNormalization":
        return _BATCH_NORM[operand](random, shape)
    if len(shape) > 1:
        return np.asarray(random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:])))
    return _SPREAD * random.standard_normal(shape)


def bert(tokens: int = 128, width: int = 384, heads: int = 12, hidden: int = 1536, layers: int = 2) -> onnx.ModelProto:
    """An encoder as BERT's (Devlin et al., 2018): attention and a feed-forward layer, each with its residual and norm.

    Args:
        tokens: The length of the sequence.
        width: Elements of each token.
        heads: Heads of attention.
        hidden: Elements within the feed-forward layer.
        layers: How many of both.

    Returns:
        A model of one input ``x`` [1, tokens, width], float32.
    """
    random = np.random.default_rng(_SEED)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def constant(values: object, dtype: str = "float32") -> str:
        weights.append(numpy_helper.from_array(np.asarray(values, dtype), f"weight_{len(weights)}"))
        return str(weights[-1].name)

    def node(operator: str, *reads: str, **attributes: object) -> str:
        nodes.append(helper.make_node(operator, reads, [f"{operator}_{len(nodes)}"], **attributes))
        return str(nodes[-1].output[0])

    def dense(x: str, rows: int, columns: int) -> str:
        product = node("MatMul", x, constant(random.standard_normal((rows, columns)) / np.sqrt(rows)))
        return node("Add", product, constant(_SPREAD * random.standard_normal(columns)))

    def normalised(x: str) -> str:
        scale, bias = 1 + _SPREAD * random.standard_normal(width), _SPREAD * random.standard_normal(width)
        return node("LayerNormalization", x, constant(scale), constant(bias), axis=-1, epsilon=1e-5)

    def attention(x: str) -> str:
        split = constant([1, tokens, heads, width // heads], "int64")
        query, key, value = (node("Reshape", dense(x, width, width), split) for _ in range(3))
        query, key = node("Transpose", query, perm=[0, 2, 1, 3]), node("Transpose", key, perm=[0, 2, 3, 1])
        scores = node("Div", node("MatMul", query, key), constant(np.sqrt(width // heads)))
        mixed = node("MatMul", node("Softmax", scores, axis=-1), node("Transpose", value, perm=[0, 2, 1, 3]))
        merged = node("Reshape", node("Transpose", mixed, perm=[0, 2, 1, 3]), constant([1, tokens, width], "int64"))
        return dense(merged, width, width)

    def gelu(x: str) -> str:
        raised = node("Add", node("Erf", node("Div", x, constant(np.sqrt(2)))), constant(1))
        return node("Mul", node("Mul", x, raised), constant(0.5))

    x = "x"
    for _ in range(layers):
        x = normalised(node("Add", x, attention(x)))
        x = normalised(node("Add", x, dense(gelu(dense(x, width, hidden)), hidden, width)))
    value = [1, tokens, width]
    graph = helper.make_graph(
        nodes,
        "bert",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, value)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, value)],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
