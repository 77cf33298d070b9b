"""Winograd's convolution: exact in exact arithmetic, close in float32, and chosen only where it is less work."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_wasm.compiler.anchors import winograd

ROUNDING = 6e-6


@given(
    points=st.lists(st.fractions(-2, 2, max_denominator=4), min_size=2, max_size=6, unique=True),
    values=st.lists(st.integers(-50, 50), min_size=12, max_size=12),
)
def test_the_matrices_compute_a_convolution(points: list[Fraction], values: list[int]) -> None:
    it = winograd.interpolation(points)
    taps, line = np.array(values[:3], float), np.resize(np.array(values[3:], float), it.extent)
    picture, weights, results = map(np.array, (it.picture, it.weights, it.results))
    found = results @ ((weights @ taps) * (picture @ line))
    np.testing.assert_allclose(found, np.convolve(line, taps[::-1], "valid"), atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("it", winograd.TRANSFORMS, ids=lambda it: f"F({it.outputs}x{it.outputs},3x3)")
def test_rounding_errors_stay_small(it: winograd.Transform) -> None:
    random, channels = np.random.default_rng(0), 256
    tile = random.standard_normal((channels, it.extent, it.extent), np.float32)
    taps = random.standard_normal((channels, 3, 3), np.float32)
    picture, weights, results = (np.array(matrix, np.float32) for matrix in (it.picture, it.weights, it.results))
    products = (weights @ taps @ weights.T) * (picture @ tile @ picture.T)
    found = results @ np.add.reduce(products, axis=0) @ results.T
    windows = np.lib.stride_tricks.sliding_window_view(tile.astype(float), (3, 3), (1, 2))
    exact = np.einsum("cyxij,cij->yx", windows, taps.astype(float))
    scale = np.sqrt(channels * taps[0].size)  # of a sum of as many products of standard normal numbers
    assert np.abs(found - exact).max() / scale < ROUNDING


def test_it_is_chosen_for_large_pictures_and_not_where_weights_outweigh_them() -> None:
    large, small = winograd.choose(1, (56, 56), 64, 64), winograd.choose(1, (2, 2), 512, 512)
    assert large is not None
    assert large.transform.outputs == 4
    assert small is None
    assert winograd.choose(1, (56, 56), 3, 64) is None  # three channels do not fill a vector
