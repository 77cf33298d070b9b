"""How far a model's modules are from the model in float64, on each platform."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from onnx_wasm.benchmarks import exact
from onnx_wasm.benchmarks.contests import WORKSPACE, Contestant
from onnx_wasm.hosts.loading import load
from onnx_wasm.verification import tensors


def errors(it: Contestant) -> Mapping[str, float]:
    """The largest differences, each as a share of its output's largest element, by platform.

    Args:
        it: A model of float32 whose modules for the web have been run by ``speed.mjs``.
    """
    expected = exact.evaluate(onnx.load(it.onnx), list(it.sample.tensors.values()))
    parts = np.cumsum([each.size for each in expected])[:-1]
    on_the_web = {
        "web": np.split(np.fromfile(WORKSPACE / it.name / "simd", "float32"), parts),
        "web with relaxed SIMD": np.split(np.fromfile(WORKSPACE / it.name / "relaxed", "float32"), parts),
    }
    found = {**on_the_web, "wasi": _run(it, "wasi"), "teaclave": _run(it, "teaclave")}
    return {platform: _worst(its, expected) for platform, its in found.items()}


def _worst(found: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> float:
    return max(
        float(np.abs(ours.ravel() - exactly.ravel()).max() / np.abs(exactly).max())
        for ours, exactly in zip(found, expected, strict=True)
    )


def _run(it: Contestant, platform: str) -> list[np.ndarray]:
    """Runs a module in its host."""
    outputs = it.interface["outputs"]
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-bench-") as folder:
        arguments = it.sample.placed(Path(folder), outputs)
        result = load(it.module(platform)).run(arguments)
        if result.value is None or result.value < 0:
            raise SystemExit(f"{it.name} for {platform}: {result}")
        return [tensors.from_file(Path(arguments[output["argument"]]), output) for output in outputs]
