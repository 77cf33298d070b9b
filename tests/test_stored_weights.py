"""Weights that a model stores in few bits take no more in the module, and kernels read what ONNX says that they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled

RANDOM = np.random.default_rng(7)
Nodes = tuple[list[onnx.NodeProto], dict[str, np.ndarray]]


def halves(shape: tuple[int, ...]) -> Nodes:
    """``w`` from halves."""
    stored = RANDOM.standard_normal(shape).astype("float16")
    return [helper.make_node("Cast", ["stored"], ["w"], to=onnx.TensorProto.FLOAT)], {"stored": stored}


def scaled_bytes(shape: tuple[int, ...]) -> Nodes:
    """``w`` from bytes, with a factor for each index of its last axis."""
    stored = RANDOM.integers(-127, 128, shape).astype("int8")
    factor = RANDOM.uniform(0.01, 0.02, shape[-1:]).astype("float32")
    nodes = [
        helper.make_node("Cast", ["stored"], ["wide"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["wide", "factor"], ["w"]),
    ]
    return nodes, {"stored": stored, "factor": factor}


def dequantized(shape: tuple[int, ...], axis: int = 0) -> Nodes:
    """``w`` as DequantizeLinear gives it, with a factor and a zero for each index of an axis."""
    known = {
        "stored": RANDOM.integers(0, 256, shape).astype("uint8"),
        "factor": RANDOM.uniform(0.01, 0.02, shape[axis]).astype("float32"),
        "zero": RANDOM.integers(100, 150, shape[axis]).astype("uint8"),
    }
    return [helper.make_node("DequantizeLinear", ["stored", "factor", "zero"], ["w"], axis=axis)], known


def dequantized_by_one(shape: tuple[int, ...]) -> Nodes:
    """``w`` as DequantizeLinear gives it, with one factor for all."""
    known = {"stored": RANDOM.integers(-128, 128, shape).astype("int8"), "factor": np.array(0.02, "float32")}
    return [helper.make_node("DequantizeLinear", ["stored", "factor"], ["w"])], known


WEIGHTS: list[Callable[[tuple[int, ...]], Nodes]] = [halves, scaled_bytes, dequantized, dequantized_by_one]
USES: dict[str, tuple[tuple[int, ...], tuple[int, ...], list[onnx.NodeProto]]] = {
    "product": ((5, 96), (96, 72), [helper.make_node("MatMul", ["x", "w"], ["y"])]),
    "product of one row": ((1, 96), (96, 72), [helper.make_node("MatMul", ["x", "w"], ["y"])]),
    "transposed": (
        (5, 96),
        (72, 96),
        [helper.make_node("Transpose", ["w"], ["wt"]), helper.make_node("MatMul", ["x", "wt"], ["y"])],
    ),
    "Gemm": ((5, 96), (72, 96), [helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)]),
    "pointwise": ((1, 80, 4, 5), (72, 80, 1, 1), [helper.make_node("Conv", ["x", "w"], ["y"])]),
    "convolution": ((1, 8, 6, 6), (32, 8, 5, 5), [helper.make_node("Conv", ["x", "w"], ["y"])]),
    "dilated": ((1, 8, 9, 9), (64, 8, 3, 3), [helper.make_node("Conv", ["x", "w"], ["y"], dilations=[2, 2])]),
    "winograd": ((1, 32, 12, 12), (32, 32, 3, 3), [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]),
    "in groups": ((1, 64, 6, 6), (64, 16, 3, 3), [helper.make_node("Conv", ["x", "w"], ["y"], group=4)]),
    "depthwise": ((1, 512, 5, 5), (512, 1, 3, 3), [helper.make_node("Conv", ["x", "w"], ["y"], group=512)]),
    "lines": ((1, 32, 20), (64, 32, 3), [helper.make_node("Conv", ["x", "w"], ["y"])]),
}


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def check(its: onnx.ModelProto, inputs: dict[str, np.ndarray], laboratory: Laboratory, folder: Path) -> int:
    """Holds a model against ONNX's reference implementation; gives the bytes of its weights."""
    onnx.save(its, folder / "it.onnx")
    made = compiled(folder / "it.onnx", folder, "it")
    (found,) = laboratory.run(made, inputs)
    (wanted,) = ReferenceEvaluator(its).run(None, inputs)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())
    return len(made.params)


def most(known: dict[str, np.ndarray]) -> float:
    """Bytes that weights may take: as they are stored, packed in panels, with what is needed to read them."""
    return 1.3 * known["stored"].nbytes + 4 * sum(it.size for name, it in known.items() if name != "stored") + 512


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("use", USES)
def test_weights_stay_as_they_are_stored(
    use: str, weights: Callable[[tuple[int, ...]], Nodes], laboratory: Laboratory, tmp_path: Path
) -> None:
    x, shape, nodes = USES[use]
    reading, known = weights(shape)
    if weights is scaled_bytes and nodes[-1].op_type == "Conv":
        known["factor"] = known["factor"].repeat(shape[0])[: shape[0]].reshape(-1, *[1] * (len(shape) - 1))
    its = model([*reading, *nodes], {"x": ("float32", list(x))}, {"y": ("float32", [None] * len(x))}, known, 19)
    its = onnx.shape_inference.infer_shapes(its)
    nbytes = check(its, {"x": RANDOM.standard_normal(x).astype("float32")}, laboratory, tmp_path)
    assert known["stored"].nbytes <= nbytes < most(known)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_rows_are_looked_up_as_they_are_stored(
    weights: Callable[[tuple[int, ...]], Nodes], laboratory: Laboratory, tmp_path: Path
) -> None:
    reading, known = weights((500, 32))
    nodes = [*reading, helper.make_node("Gather", ["w", "ids"], ["y"])]
    its = model(nodes, {"ids": ("int64", [1, 7])}, {"y": ("float32", [1, 7, 32])}, known, 19)
    onnx.save(its, tmp_path / "it.onnx")
    made = compiled(tmp_path / "it.onnx", tmp_path, "it")
    assert made.interface.sizes["workspace"] < 1024  # no row but those asked for is read
    nbytes = check(its, {"ids": np.array([[0, 499, 3, 3, -1, 7, 250]])}, laboratory, tmp_path)
    assert nbytes < most(known)


def test_a_factor_for_each_element_saves_nothing(laboratory: Laboratory, tmp_path: Path) -> None:
    reading, known = scaled_bytes((96, 72))
    known["factor"] = RANDOM.uniform(0.01, 0.02, (96, 72)).astype("float32")
    nodes = [*reading, helper.make_node("MatMul", ["x", "w"], ["y"])]
    its = model(nodes, {"x": ("float32", [5, 96])}, {"y": ("float32", [5, 72])}, known)
    nbytes = check(its, {"x": RANDOM.standard_normal((5, 96)).astype("float32")}, laboratory, tmp_path)
    assert nbytes <= 4 * 96 * 80
