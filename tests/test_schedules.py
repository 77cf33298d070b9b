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
from onnx_wasm.benchmarks import exact
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.platforms import TEACLAVE, WASI

RANDOM = np.random.default_rng(21)
PLATFORMS = {"with vectors": WASI, "without": TEACLAVE}
F = "float32"
STARTING_ELSEWHERE = ("ReduceMax", "ArgMax")
"""Reductions that TVM cannot take apart: it does not know what they start from."""


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


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ([("Transpose", {"perm": [1, 0]})], (64, 48)),
        ([("Transpose", {"perm": [1, 0]})], (67, 45)),
        ([("Transpose", {"perm": [0, 2, 3, 1]})], (1, 3, 21, 22)),
        ([("Transpose", {"perm": [0, 2, 3, 1]})], (2, 70, 7, 9)),
        ([("Transpose", {"perm": [0, 3, 1, 2]}), ("Relu", {})], (1, 9, 5, 33)),
        ([("Transpose", {"perm": [2, 0, 1]}), ("Flatten", {"axis": 2})], (6, 10, 12)),
        ([("Relu", {})], (5, 7, 3)),
        ([("Relu", {})], (1, 6625)),
        ([("Pad", {"pads": [0, 0, 1, 2, 0, 0, 3, 1]})], (1, 5, 6, 7)),
        ([("Transpose", {"perm": [0, 2, 3, 1]}), ("Pad", {"pads": [0, 1, 1, 0, 0, 1, 2, 0]})], (1, 3, 30, 31)),
    ],
)
def test_elements_are_moved_in_vectors(
    nodes: list[tuple[str, dict[str, Any]]],
    shape: tuple[int, ...],
    platform: str,
    laboratory: Laboratory,
    tmp_path: Path,
) -> None:
    names = ["x", *("abcdef"[index] for index in range(len(nodes) - 1)), "y"]
    made = [
        helper.make_node(operator, [read], [written], **how)
        for (operator, how), read, written in zip(nodes, names, names[1:], strict=False)
    ]
    its = onnx.shape_inference.infer_shapes(model(made, {"x": (F, list(shape))}, {"y": (F, None)}, opset=9))
    for kernel in rules(its, platform, laboratory, tmp_path):
        assert kernel["rule"] == "elementwise"
        assert "left" not in kernel


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("parts", [(8, 4, 12), (5, 1, 30)])
def test_parts_are_put_together_without_asking_each_element(
    parts: tuple[int, ...], axis: int, platform: str, laboratory: Laboratory, tmp_path: Path
) -> None:
    names = [f"x{index}" for index in range(len(parts))]
    shapes = {
        name: (F, [*[6, 7, 9][:axis], part, *[6, 7, 9][axis + 1 :]]) for name, part in zip(names, parts, strict=True)
    }
    nodes = [helper.make_node("Concat", names, ["z"], axis=axis), helper.make_node("Neg", ["z"], ["y"])]
    its = onnx.shape_inference.infer_shapes(model(nodes, shapes, {"y": (F, None)}))
    (kernel,) = rules(its, platform, laboratory, tmp_path)
    assert kernel["rule"] == "elementwise"


@pytest.mark.parametrize("platform", PLATFORMS)
def test_channels_are_padded_and_sliced_where_they_are(platform: str, laboratory: Laboratory, tmp_path: Path) -> None:
    """Between two convolutions, as local responses are: nothing is transposed there."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("LRN", ["a"], ["b"], size=5, alpha=0.3, beta=0.75, bias=1.5),
        helper.make_node("Slice", ["b", "first", "last", "axes"], ["c"]),
        helper.make_node("Pad", ["c", "pads"], ["d"]),
        helper.make_node("Conv", ["d", "v"], ["y"]),
    ]
    known = {
        "w": drawn(24, 6, 1, 1),
        "v": drawn(8, 16, 3, 3),
        "first": np.array([1, 3], "int64"),
        "last": np.array([6, 16], "int64"),
        "axes": np.array([2, 1], "int64"),
        "pads": np.array([0, 2, 1, 0, 0, 1, 0, 1], "int64"),
    }
    its = onnx.shape_inference.infer_shapes(model(nodes, {"x": (F, [1, 6, 7, 8])}, {"y": (F, None)}, known))
    onnx.save(its, tmp_path / "it.onnx")
    made = compiled(tmp_path / "it.onnx", tmp_path, "it", PLATFORMS[platform])
    x = drawn(1, 6, 7, 8)
    (wanted,) = exact.evaluate(its, [x])
    (found,) = laboratory.run(made, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    kernels = [it["name"] for it in json.loads((tmp_path / "model.graph.json").read_text())["nodes"]]
    assert sum("transpose" in name for name in kernels) == 2, kernels


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("operator", ["ReduceSum", "ReduceMax", "ReduceMean", "ReduceL2", "Softmax", "ArgMax"])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 64), 1),
        ((3, 67), 1),
        ((2, 5), 1),
        ((2, 1), 1),
        ((9, 48), 0),
        ((9, 45), 0),
        ((2, 33, 12), 1),
        ((2, 3, 5, 7), 2),
        ((1, 19), 0),
    ],
)
def test_reductions_along_any_axis_are_exact_enough(
    operator: str, shape: tuple[int, ...], axis: int, platform: str, laboratory: Laboratory, tmp_path: Path
) -> None:
    how = {"axis": axis} if operator in ("Softmax", "ArgMax") else {"axes": [axis]}
    if operator == "ReduceSum":
        node, known = helper.make_node(operator, ["x", "axes"], ["y"]), {"axes": np.array([axis], "int64")}
    else:
        node, known = helper.make_node(operator, ["x"], ["y"], **how), {}
    output = ("int64" if operator == "ArgMax" else F, None)
    its = onnx.shape_inference.infer_shapes(model([node], {"x": (F, list(shape))}, {"y": output}, known))
    kernels = rules(its, platform, laboratory, tmp_path)
    beside = axis < len(shape) - 1 and shape[-1] % 4 == 0
    along = operator not in STARTING_ELSEWHERE and (shape[axis] % 4 == 0 or shape[axis] >= 16)
    if beside or along:
        assert not any("left" in it for it in kernels)


@pytest.mark.parametrize("axes", [[1, 2], [2, 3], [0, 3], [0, 1, 2, 3], [1, 3]])
def test_reductions_along_several_axes_are_exact_enough(
    axes: list[int], laboratory: Laboratory, tmp_path: Path
) -> None:
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=axes)
    its = model([node], {"x": (F, [2, 5, 6, 12])}, {"y": (F, None)})
    assert rules(onnx.shape_inference.infer_shapes(its), "with vectors", laboratory, tmp_path)


@pytest.mark.parametrize(("operator", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_what_walks_steps_is_written_as_it_runs(
    operator: str, gates: int, laboratory: Laboratory, tmp_path: Path
) -> None:
    """One product for all steps, then their walk."""
    node = helper.make_node(operator, ["x", "w", "r"], ["y"], hidden_size=24)
    its = one(node, 5, 1, 12, w=drawn(1, gates * 24, 12), r=drawn(1, gates * 24, 24) / 5)
    kinds = [it.get("rule") for it in rules(its, "with vectors", laboratory, tmp_path)]
    assert kinds.count("gemm") == kinds.count("recurrent") == 1


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float64"])
def test_elements_of_every_width_are_moved(dtype: str, laboratory: Laboratory, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["x", "z"], ["a"], axis=1),
        helper.make_node("Transpose", ["a"], ["y"], perm=[2, 0, 1]),
    ]
    its = model(nodes, {"x": (dtype, [3, 9, 21]), "z": (dtype, [3, 30, 21])}, {"y": (dtype, [21, 3, 39])})
    onnx.save(its, tmp_path / "it.onnx")
    made = compiled(tmp_path / "it.onnx", tmp_path, "it", WASI)
    x, z = (RANDOM.integers(0, 2 if dtype == "bool" else 100, (3, count, 21)).astype(dtype) for count in (9, 30))
    (found,) = laboratory.run(made, {"x": x, "z": z})
    np.testing.assert_array_equal(found, np.concatenate([x, z], axis=1).transpose(2, 0, 1))
