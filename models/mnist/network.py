"""The network as an ONNX graph: what the ONNX zoo's ``mnist-8`` is, with parameters of our own.

The node types, their order, their attributes and every name are those of ``mnist-8``, so a tool that takes the one
takes the other. Only the container is newer: IR version 4, in which an initializer need not be listed as a graph input
too (``mnist-8`` has IR version 3, which requires it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

INPUT = "Input3"
INPUT_SHAPE = (1, 1, 28, 28)
OUTPUT = "Plus214_Output_0"
OUTPUT_SHAPE = (1, 10)

PARAMETERS: Mapping[str, tuple[int, ...]] = {
    "Parameter5": (8, 1, 5, 5),
    "Parameter6": (8, 1, 1),
    "Parameter87": (16, 8, 5, 5),
    "Parameter88": (16, 1, 1),
    "Parameter193": (16, 4, 4, 10),
    "Parameter194": (1, 10),
}
"""The shape of each trained tensor; all are float32."""


def onnx_model(parameters: Mapping[str, NDArray[np.float32]]) -> onnx.ModelProto:
    """Writes the network with these parameters as an ONNX model.

    Equal parameters give equal bytes once serialised.

    Args:
        parameters: A float32 tensor of the right shape for every name in `PARAMETERS`.

    Returns:
        The checked model: input ``Input3`` float32 [1, 1, 28, 28], pixels from 0 (black) to 1 (white), the digit white;
        output ``Plus214_Output_0`` float32 [1, 10], a score per digit (no softmax).

    Raises:
        KeyError: A parameter is missing.
        ValueError: A parameter has the wrong shape or dtype.
    """
    for name, shape in PARAMETERS.items():
        found = parameters[name]
        if found.shape != shape or found.dtype != np.float32:
            raise ValueError(f"{name} must be float32 {list(shape)}, not {found.dtype} {list(found.shape)}")

    convolution: dict[str, Any] = {
        "kernel_shape": [5, 5],
        "strides": [1, 1],
        "auto_pad": "SAME_UPPER",
        "group": 1,
        "dilations": [1, 1],
    }
    pooling: dict[str, Any] = {"pads": [0, 0, 0, 0], "auto_pad": "NOTSET"}
    node = helper.make_node
    nodes = [
        node(
            "Reshape", ["Parameter193", "Parameter193_reshape1_shape"], ["Parameter193_reshape1"], "Times212_reshape1"
        ),
        node("Conv", [INPUT, "Parameter5"], ["Convolution28_Output_0"], "Convolution28", **convolution),
        node("Add", ["Convolution28_Output_0", "Parameter6"], ["Plus30_Output_0"], "Plus30"),
        node("Relu", ["Plus30_Output_0"], ["ReLU32_Output_0"], "ReLU32"),
        node(
            "MaxPool",
            ["ReLU32_Output_0"],
            ["Pooling66_Output_0"],
            "Pooling66",
            kernel_shape=[2, 2],
            strides=[2, 2],
            **pooling,
        ),
        node(
            "Conv", ["Pooling66_Output_0", "Parameter87"], ["Convolution110_Output_0"], "Convolution110", **convolution
        ),
        node("Add", ["Convolution110_Output_0", "Parameter88"], ["Plus112_Output_0"], "Plus112"),
        node("Relu", ["Plus112_Output_0"], ["ReLU114_Output_0"], "ReLU114"),
        node(
            "MaxPool",
            ["ReLU114_Output_0"],
            ["Pooling160_Output_0"],
            "Pooling160",
            kernel_shape=[3, 3],
            strides=[3, 3],
            **pooling,
        ),
        node(
            "Reshape",
            ["Pooling160_Output_0", "Pooling160_Output_0_reshape0_shape"],
            ["Pooling160_Output_0_reshape0"],
            "Times212_reshape0",
        ),
        node("MatMul", ["Pooling160_Output_0_reshape0", "Parameter193_reshape1"], ["Times212_Output_0"], "Times212"),
        node("Add", ["Times212_Output_0", "Parameter194"], [OUTPUT], "Plus214"),
    ]
    shapes = {"Parameter193_reshape1_shape": [256, 10], "Pooling160_Output_0_reshape0_shape": [1, 256]}
    graph = helper.make_graph(
        nodes,
        "mnist",
        inputs=[helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, INPUT_SHAPE)],
        outputs=[helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, OUTPUT_SHAPE)],
        initializer=[
            *(numpy_helper.from_array(parameters[name], name) for name in PARAMETERS),
            *(numpy_helper.from_array(np.array(shape, np.int64), name) for name, shape in shapes.items()),
        ],
    )
    model = helper.make_model(
        graph, producer_name="onnx-wasm models/mnist", ir_version=4, opset_imports=[helper.make_opsetid("", 8)]
    )
    onnx.checker.check_model(model, full_check=True)
    return model
