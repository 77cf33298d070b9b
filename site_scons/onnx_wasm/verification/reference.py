"""What a model's outputs should be, by ONNX's reference evaluator, or by onnxruntime where that does not do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_wasm.errors import BuildError, Problem

Evaluate = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""From inputs to outputs, both by name."""

ONNX, ONNXRUNTIME = "onnx", "onnxruntime"

_MOST_WEIGHTS = 1_000_000
"""Weights above which the reference evaluator would take minutes: it runs convolutions in Python."""

_RIGHT_SINCE = {"BatchNormalization": 14, "Softmax": 13, "LogSoftmax": 13, "Hardmax": 13}
"""Operators that the reference evaluator of onnx 1.23 computes as newer opsets define them, and from which it is right:
it normalises batches with their own mean and variance, and takes the maximum over one axis."""


def evaluator(path: Path, asked: str | None, label: str) -> tuple[str, Evaluate]:
    """Loads a model for evaluation.

    Args:
        path: The ONNX file; its external data lies beside it.
        asked: ``onnx`` or ``onnxruntime``; None to have it chosen: onnxruntime for models of more than a million
            weights, and those with an operator that the reference evaluator has not, or computes as another opset's.
        label: What messages call the manifest.

    Returns:
        The name of what evaluates, and the function that does.

    Raises:
        BuildError: It should be onnxruntime, which is not installed, or none can load the model.
    """
    if asked == ONNXRUNTIME:
        return ONNXRUNTIME, _onnxruntime(path, "the manifest asks for it", label)
    if asked == ONNX:
        return ONNX, _reference(path)
    light = onnx.load(path, load_external_data=False)
    why = _unfit(light)
    if why:
        return ONNXRUNTIME, _onnxruntime(path, why, label)
    try:
        return ONNX, _reference(path)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        return ONNXRUNTIME, _onnxruntime(path, f"ONNX's reference evaluator cannot load the model: {reason}", label)


def constants(
    path: Path, values: Mapping[str, float], shapes: Mapping[str, tuple[int, ...]], dimensions: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The inputs that the manifest gives a value, which the module does not take.

    Args:
        path: The ONNX file.
        values: By name.
        shapes: Of inputs that the manifest gives one, by name.
        dimensions: Extents, by the name of the dimension.
    """
    made = {}
    for it in onnx.load(path, load_external_data=False).graph.input if values else ():
        if it.name in values:
            type_ = it.type.tensor_type
            shape = shapes.get(it.name, [dim.dim_value or dimensions[dim.dim_param] for dim in type_.shape.dim])
            made[it.name] = np.full(shape, values[it.name], onnx.helper.tensor_dtype_to_np_dtype(type_.elem_type))
    return made


def _reference(path: Path) -> Evaluate:
    loaded = ReferenceEvaluator(onnx.load(path))

    def evaluate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _by_name(loaded.output_names, loaded.run(None, dict(inputs)))

    return evaluate


def _onnxruntime(path: Path, why: str, label: str) -> Evaluate:
    try:
        import onnxruntime
    except ImportError as error:
        message = f"onnxruntime is needed to verify the model, and is not installed: {why}"
        hint = "pip install 'onnx-wasm[verify]', or say in the manifest: [verify] reference = \"onnx\""
        raise BuildError(Problem(label, message, hint, key=("verify",))) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # As the file says it: what its optimisations change would count as the module's error.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise BuildError(Problem(label, f"onnxruntime cannot load {path}: {reason}", key=("verify",))) from error
    names = [it.name for it in session.get_outputs()]

    def evaluate(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _by_name(names, session.run(names, dict(inputs)))

    return evaluate


def _unfit(model: onnx.ModelProto) -> str:
    """Why the reference evaluator will not do; empty if it may."""
    weights = sum(_sizes(model.graph))
    if weights > _MOST_WEIGHTS:
        return f"the model has {weights:,} weights"
    opset = max((it.version for it in model.opset_import if it.domain in ("", "ai.onnx")), default=0)
    wrong = next((it.op_type for it in model.graph.node if opset < _RIGHT_SINCE.get(it.op_type, 0)), "")
    if wrong:
        return f"ONNX's reference evaluator computes {wrong} of opset {opset} as newer opsets define it"
    return ""


def _by_name(names: list[str], values: list[Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in zip(names, values, strict=True)}


def _sizes(graph: onnx.GraphProto) -> Iterator[int]:
    """The number of elements of each weight, those of subgraphs and Constant nodes too."""
    yield from (math.prod(it.dims) for it in graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (math.prod(it.dims) for it in (attribute.t, *attribute.tensors))
            for subgraph in (attribute.g, *attribute.graphs):
                yield from _sizes(subgraph)
