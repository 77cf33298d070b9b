"""Kinds of kernels have rules of their own, and compute what ONNX says whatever their extents are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.platforms import TEACLAVE, WASI

RANDOM = np.random.default_rng(21)
PLATFORMS = {"with vectors": WASI, "without": TEACLAVE}
F = "float32"


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def drawn(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(F)


def one(node: onnx.NodeProto, *shape: int, then: str = "", **known: np.ndarray) -> onnx.ModelProto:
    """A model of one node that reads ``x`` and what is known, and maybe one that reads what it gives."""
    nodes = [node] if not then else [node, helper.make_node(then, ["y"], ["z"])]
    its = model(nodes, {"x": (F, list(shape))}, {"z" if then else "y": (F, None)}, known)
    return onnx.shape_inference.infer_shapes(its)


def rules(its: onnx.ModelProto, platform: str, laboratory: Laboratory, folder: Path) -> list[Mapping[str, Any]]:
    """Runs a model on each platform and holds its results; what its kernels say of themselves."""
    onnx.save(its, folder / "it.onnx")
    made = compiled(folder / "it.onnx", folder, "it", PLATFORMS[platform])
    inputs = {it.name: drawn(*(d.dim_value for d in it.type.tensor_type.shape.dim)) for it in its.graph.input}
    wanted = ReferenceEvaluator(its).run(None, inputs)
    for found, expected in zip(laboratory.run(made, inputs), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())
    nodes = json.loads((folder / "model.graph.json").read_text())["nodes"]
    return [node["attrs"] for node in nodes if node["op"] == "tvm_op"]


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("shape", "window", "how"),
    [
        ((1, 16, 9, 9), (3, 3), {"pads": [1, 1, 1, 1]}),
        ((1, 8, 12, 16), (3, 3), {}),
        ((2, 12, 7, 6), (3, 3), {"pads": [1, 0, 2, 1], "strides": [2, 2]}),
        ((1, 4, 18, 14), (5, 5), {"pads": [2, 2, 2, 2]}),
        ((1, 20, 11, 23), (5, 5), {"pads": [2, 2, 2, 2], "strides": [2, 1]}),
        ((1, 8, 9, 10), (3, 3), {"dilations": [2, 3], "pads": [2, 3, 2, 3]}),
        ((1, 6, 5, 5), (3, 3), {"pads": [1, 1, 1, 1]}),
        ((1, 4, 1, 40), (1, 31), {"pads": [0, 15, 0, 15]}),
        ((3, 8, 4, 1), (2, 1), {}),
        ((1, 8, 1, 1), (1, 1), {}),
    ],
)
def test_depthwise_convolutions_compute_runs_of_pixels(
    shape: tuple[int, ...],
    window: tuple[int, int],
    how: dict[str, list[int]],
    platform: str,
    laboratory: Laboratory,
    tmp_path: Path,
) -> None:
    channels = shape[1]
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], group=channels, **how)
    its = one(node, *shape, then="Relu", w=drawn(channels, 1, *window), b=drawn(channels))
    (main,) = (it for it in rules(its, platform, laboratory, tmp_path) if it["rule"] == "depthwise")
    assert ("left" in main) == bool(channels % 4)
