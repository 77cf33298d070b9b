"""ONNX models in float64, by NumPy: what modules' results are held against.

ONNX's reference evaluator runs them; what it does in loops of Python, or in training's way, is done here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun


def evaluate(model: onnx.ModelProto, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Runs a model of float32 in float64.

    Args:
        model: The model.
        inputs: In order.

    Returns:
        Its outputs, in order.
    """
    wide = onnx.ModelProto()
    wide.CopyFrom(model)
    for tensor in wide.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype("float64"), tensor.name))
    for value in (*wide.graph.input, *wide.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    evaluator = ReferenceEvaluator(wide, new_ops=[Conv, MaxPool, AveragePool, BatchNormalization, LRN])
    given = (it.astype("float64") for it in inputs)
    return [np.asarray(it) for it in evaluator.run(None, dict(zip(evaluator.input_names, given, strict=True)))]


class Conv(OpRun):  # type: ignore[misc]
    """A convolution as one product for each group."""

    def _run(self, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None, **how: Any) -> tuple[np.ndarray]:
        groups = how.get("group") or 1
        seen = _windows(x, w.shape[2:], how, 0.0)
        found = [
            np.einsum("ncyxij,ocij->noyx", part, weights, optimize=True)
            for part, weights in zip(np.split(seen, groups, axis=1), np.split(w, groups), strict=True)
        ]
        result = np.concatenate(found, axis=1)
        return (result if b is None else result + b.reshape(1, -1, 1, 1),)


class MaxPool(OpRun):  # type: ignore[misc]
    """The largest element under a window."""

    def _run(self, x: np.ndarray, **how: Any) -> tuple[np.ndarray]:
        return (_windows(x, how["kernel_shape"], how, -math.inf).max(axis=(4, 5)),)


class AveragePool(OpRun):  # type: ignore[misc]
    """The mean element under a window."""

    def _run(self, x: np.ndarray, **how: Any) -> tuple[np.ndarray]:
        total = _windows(x, how["kernel_shape"], how, 0.0).sum(axis=(4, 5))
        counted = np.ones_like(x)
        if how.get("count_include_pad"):
            return (total / math.prod(how["kernel_shape"]),)
        return (total / _windows(counted, how["kernel_shape"], how, 0.0).sum(axis=(4, 5)),)


class BatchNormalization(OpRun):  # type: ignore[misc]
    """As at inference: by the mean and the variance that are given."""

    def _run(self, x: np.ndarray, *statistics: np.ndarray, **how: Any) -> tuple[np.ndarray]:
        scale, bias, mean, variance = (it.reshape(1, -1, *[1] * (x.ndim - 2)) for it in statistics)
        return ((x - mean) / np.sqrt(variance + (how.get("epsilon") or 1e-5)) * scale + bias,)


class LRN(OpRun):  # type: ignore[misc]
    """Each element by the squares of its neighbours in other channels."""

    def _run(self, x: np.ndarray, **how: Any) -> tuple[np.ndarray]:
        size = how["size"]
        before, after = (size - 1) // 2, size // 2
        squares = np.pad(x * x, [(0, 0), (before, after), (0, 0), (0, 0)])
        total = np.lib.stride_tricks.sliding_window_view(squares, size, axis=1).sum(axis=-1)
        return (x / (how["bias"] + how["alpha"] / size * total) ** how["beta"],)


def _windows(x: np.ndarray, extents: Sequence[int], how: dict[str, Any], outside: float) -> np.ndarray:
    """What a window sees at each of its places: [N, C, OH, OW, KH, KW]."""
    strides, dilations = how.get("strides") or [1, 1], how.get("dilations") or [1, 1]
    top, left, bottom, right = how.get("pads") or [0, 0, 0, 0]
    reach = [(extent - 1) * dilation + 1 for extent, dilation in zip(extents, dilations, strict=True)]
    if str(how.get("auto_pad")).startswith("SAME"):
        missing = [
            max((-(-length // stride) - 1) * stride + size - length, 0)
            for length, stride, size in zip(x.shape[2:], strides, reach, strict=True)
        ]
        upper = how["auto_pad"] == "SAME_UPPER"
        top, left = (it // 2 if upper else -(-it // 2) for it in missing)
        bottom, right = missing[0] - top, missing[1] - left
    if how.get("ceil_mode"):
        bottom, right = (
            after + -(size + before + after - length) % stride
            for size, before, after, length, stride in zip(
                x.shape[2:], (top, left), (bottom, right), reach, strides, strict=True
            )
        )
    padded = np.pad(x, [(0, 0), (0, 0), (top, bottom), (left, right)], constant_values=outside)
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    return seen[:, :, :: strides[0], :: strides[1], :: dilations[0], :: dilations[1]]
