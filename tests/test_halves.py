"""Halves: every conversion is NumPy's, and a node's result is its float32 result, rounded once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest

ALL = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
FINITE = ALL[np.isfinite(ALL)].astype(np.float64)


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def check(nodes: list[onnx.NodeProto], x: np.ndarray, y: np.ndarray, laboratory: Laboratory) -> None:
    types = ({"x": (str(x.dtype), list(x.shape))}, {"y": (str(y.dtype), list(y.shape))})
    made: onnx.ModelProto = model(nodes, *types)  # type: ignore[arg-type]
    verdict = node_tests.judge(NodeTest("halves", made, {"x": x}, [y], 0, 0), laboratory)
    assert verdict.kind == "passed", verdict


def between(dtype: str) -> np.ndarray:
    """Every half, the middle between each and the next, and what is next to that middle."""
    ordered = np.sort(FINITE)
    middle = ((ordered[1:] + ordered[:-1]) / 2).astype(dtype)
    up, down = np.nextafter(middle, np.array(np.inf, dtype)), np.nextafter(middle, np.array(-np.inf, dtype))
    special = [np.inf, -np.inf, np.nan, 65519, 65520, 65536, 1e30, 1e-30, -1e-30, -0.0, 3.4e38]
    return np.concatenate([ordered.astype(dtype), middle, up, down, np.array(special, dtype)])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_half_becomes_wider(dtype: str, laboratory: Laboratory) -> None:
    to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    check([helper.make_node("Cast", ["x"], ["y"], to=to)], ALL, ALL.astype(dtype), laboratory)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_become_the_nearest_half(dtype: str, laboratory: Laboratory) -> None:
    x = between(dtype)
    with np.errstate(over="ignore"):
        y = x.astype(np.float16)
    check([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], x, y, laboratory)


def test_doubles_are_rounded_once(laboratory: Laboratory) -> None:
    """A little above the middle of two halves, by less than float32 can tell."""
    x = np.array([1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11 - 2.0**-40, -1 - 2.0**-11 - 2.0**-40])
    check([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], x, x.astype(np.float16), laboratory)


def test_a_long_chain_rounds_after_each_node(laboratory: Laboratory) -> None:
    x = np.linspace(-4, 4, 64, dtype=np.float16)
    wanted, nodes = x, []
    for index in range(12):
        nodes += [helper.make_node("Mul", [f"t{index}" if index else "x", "x"], [f"m{index}"])]
        nodes += [helper.make_node("Tanh", [f"m{index}"], [f"t{index + 1}" if index < 11 else "y"])]
        wanted = np.tanh((wanted * x).astype(np.float32)).astype(np.float16)
    made = ({"x": ("float16", [64])}, {"y": ("float16", [64])})
    test = NodeTest("chain", model(nodes, *made), {"x": x}, [wanted], 1e-3, 0)  # type: ignore[arg-type]
    assert node_tests.judge(test, laboratory).kind == "passed"


def test_a_sum_of_halves_is_rounded_at_its_end(laboratory: Laboratory) -> None:
    x = np.full((1, 4096), 0.1, np.float16)
    y = np.array([[x.astype(np.float64).sum()]]).astype(np.float16)
    check([helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)], x, y, laboratory)
