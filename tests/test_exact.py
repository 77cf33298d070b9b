"""The float64 evaluation that benchmarks hold results against, against onnxruntime in float32."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from support import model

from onnx_wasm.benchmarks import exact

F = "float32"
SHAPE = [1, 6, 13, 11]
WEIGHTS = np.random.default_rng(0).standard_normal((8, 3, 3, 2)).astype(F)


@pytest.mark.parametrize(
    ("operator", "attributes", "out", "weights"),
    [
        (
            "Conv",
            {"group": 2, "pads": [1, 0, 2, 1], "strides": [2, 1], "dilations": [1, 2]},
            [1, 8, 7, 10],
            {"w": WEIGHTS},
        ),
        ("Conv", {"group": 2, "auto_pad": "SAME_UPPER", "strides": [2, 2]}, [1, 8, 7, 6], {"w": WEIGHTS}),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, [1, 6, 6, 5], {}),
        ("MaxPool", {"kernel_shape": [3, 2], "pads": [1, 1, 0, 0]}, [1, 6, 12, 11], {}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, [1, 6, 13, 11], {}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}, [1, 6, 13, 11], {}),
        ("LRN", {"size": 5, "alpha": 0.3, "beta": 0.75, "bias": 1.5}, SHAPE, {}),
    ],
)
def test_an_operator_agrees(operator: str, attributes: dict, out: list[int], weights: dict[str, np.ndarray]) -> None:
    made = model(
        [helper.make_node(operator, ["x", *weights], ["y"], **attributes)], {"x": (F, SHAPE)}, {"y": (F, out)}, weights
    )
    x = np.random.default_rng(1).standard_normal(SHAPE).astype(F)
    (expected,) = onnxruntime.InferenceSession(made.SerializeToString()).run(None, {"x": x})
    (found,) = exact.evaluate(made, [x])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
