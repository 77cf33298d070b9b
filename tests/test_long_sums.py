"""Sums of many terms are added up in parts, so that their rounding errors stay those of short ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import exact
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.platforms import TEACLAVE, WASI, Platform

ROUNDING = 1e-6
"""In one go, these sums are off by 1.6e-6 to 4.6e-6, as shares of the largest."""

PRODUCTS: dict[str, tuple[tuple[int, ...], tuple[int, ...], str, dict[str, object]]] = {
    "one row": ((1, 16384), (16384, 40), "MatMul", {}),
    "several rows": ((7, 16384), (16384, 20), "MatMul", {}),
    "strided convolution": ((1, 2048, 5, 5), (20, 2048, 3, 3), "Conv", {"strides": [2, 2]}),
    "winograd": ((1, 1024, 9, 7), (20, 1024, 3, 3), "Conv", {"pads": [1, 1, 1, 1]}),
    "in groups": ((1, 4096, 2, 3), (8, 2048, 2, 2), "Conv", {"group": 2}),
}


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


@pytest.mark.parametrize("platform", [WASI, TEACLAVE], ids=lambda it: it.name)
@pytest.mark.parametrize("name", PRODUCTS)
def test_long_sums_are_exact(name: str, platform: Platform, laboratory: Laboratory, tmp_path: Path) -> None:
    shape, weights, operator, attributes = PRODUCTS[name]
    random = np.random.default_rng(0)
    x, w = (random.uniform(0, 1, it).astype("float32") for it in (shape, weights))
    node = helper.make_node(operator, ["x", "w"], ["y"], **attributes)
    proto = model([node], {"x": ("float32", list(shape))}, {"y": ("float32", list("abcd"[: x.ndim]))}, {"w": w})
    onnx.save(proto, tmp_path / "model.onnx")
    made = compiled(tmp_path / "model.onnx", tmp_path, "model", platform)
    (found,) = laboratory.run(made, {"x": x})
    (wanted,) = exact.evaluate(proto, [x])
    assert np.abs(found - wanted).max() / wanted.max() < ROUNDING
