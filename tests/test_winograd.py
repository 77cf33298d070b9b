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
