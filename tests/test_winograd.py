"""Winograd's convolution: exact in exact arithmetic, close in float32, small, and chosen only where it is less work."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from support import model

from onnx_wasm import toolchain, wasm
from onnx_wasm.benchmarks import exact
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.compiler.anchors import winograd
from onnx_wasm.platforms import TEACLAVE, WASI, Platform

ROUNDING = 6e-6


@given(
    points=st.lists(st.fractions(-2, 2, max_denominator=4), min_size=4, max_size=6, unique=True),
    taps=st.integers(2, 5),
    values=st.lists(st.integers(-50, 50), min_size=12, max_size=12),
)
def test_the_matrices_compute_a_convolution(points: list[Fraction], taps: int, values: list[int]) -> None:
    it = winograd.interpolation(points, taps)
    window, line = np.array(values[:taps], float), np.resize(np.array(values[taps:], float), it.extent)
    picture, weights, results = map(np.array, (it.picture, it.weights, it.results))
    found = results @ ((weights @ window) * (picture @ line))
    np.testing.assert_allclose(found, np.convolve(line, window[::-1], "valid"), atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("it", winograd.TRANSFORMS, ids=lambda it: f"F({it.outputs}x{it.outputs},{it.taps}x{it.taps})")
def test_rounding_errors_stay_small(it: winograd.Transform) -> None:
    random, channels = np.random.default_rng(0), 256
    tile = random.standard_normal((channels, it.extent, it.extent), np.float32)
    taps = random.standard_normal((channels, it.taps, it.taps), np.float32)
    picture, weights, results = (np.array(matrix, np.float32) for matrix in (it.picture, it.weights, it.results))
    products = (weights @ taps @ weights.T) * (picture @ tile @ picture.T)
    found = results @ np.add.reduce(products, axis=0) @ results.T
    windows = np.lib.stride_tricks.sliding_window_view(tile.astype(float), (it.taps, it.taps), (1, 2))
    exact = np.einsum("cyxij,cij->yx", windows, taps.astype(float))
    scale = np.sqrt(channels * taps[0].size)  # of a sum of as many products of standard normal numbers
    assert np.abs(found - exact).max() / scale < ROUNDING


def test_it_is_chosen_for_large_pictures_and_not_where_weights_outweigh_them() -> None:
    large, small = winograd.choose(1, (56, 56), 64, 64, 3), winograd.choose(1, (2, 2), 512, 512, 3)
    assert large is not None
    assert large.transform.outputs == 4
    assert small is None
    assert winograd.choose(1, (56, 56), 3, 64, 3) is None  # three channels do not fill a vector
    assert winograd.choose(1, (56, 56), 64, 64, 7) is None


def test_weights_that_are_kept_transformed_weigh_less() -> None:
    assert winograd.choose(1, (4, 4), 128, 128, 3) is None
    assert winograd.choose(1, (4, 4), 128, 128, 3, kept=True) is not None


KERNELS = {"winograd_weights", "winograd_picture", "winograd_results"}
CODE = 1000
"""Bytes of a transform's code; written out, one of 36 points would be 2,500."""


@pytest.fixture(scope="module")
def wrapper(built: Path) -> Path:
    return built / "build/teaclave/wrapper/libwrapper.a"


@pytest.mark.parametrize("platform", [WASI, TEACLAVE], ids=lambda it: it.name)
@pytest.mark.parametrize("taps", [3, 5])
@pytest.mark.parametrize("extents", [(17, 22), (24, 24), (13, 30)])
def test_modules_compute_it(
    extents: tuple[int, int], taps: int, platform: Platform, wrapper: Path, tmp_path: Path
) -> None:
    """Where tiles fit into the picture, and where they stand over its edges; with vectors, in little code."""
    random, channels, columns = np.random.default_rng(0), 16, 20
    x = random.standard_normal((2, channels, *extents), np.float32)
    w = random.standard_normal((columns, channels, taps, taps), np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[taps // 2, 1, taps // 2, 1])
    proto = model([node], {"x": ("float32", list(x.shape))}, {"y": ("float32", list("abcd"[: x.ndim]))}, {"w": w})
    onnx.save(proto, tmp_path / "model.onnx")
    made = compiled(tmp_path / "model.onnx", tmp_path, "model", platform)
    (found,) = Laboratory(toolchain.find().linker.command, wrapper).run(made, {"x": x})
    (wanted,) = exact.evaluate(proto, [x])
    assert np.abs(found - wanted).max() / np.abs(wanted).max() < ROUNDING
    functions = wasm.read((tmp_path / "model.wasm").read_bytes(), "").functions
    sizes = {it.name: it.size for it in functions if it.name in KERNELS}
    assert set(sizes) == KERNELS
    assert platform == TEACLAVE or max(sizes.values()) < CODE
