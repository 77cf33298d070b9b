"""Products of int16 with weights of a byte, in int32: two terms in one instruction where there are vectors.

Weights of neighbouring terms stand side by side in one word, an unsigned one, so that a register of words is an operand
of ``i32x4.dot_i16x8_s``: uint16 holds two bytes, uint32 two int16. Without vectors they stand alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import tirx

from onnx_wasm.compiler.intrinsics import dot, pair, spread

_WORDS = {"int8": "uint16", "int16": "uint32"}


def narrowed(weights: np.ndarray) -> np.ndarray:
    """Weights of int16 in a byte each, if they fit."""
    narrow = weights.astype("int8")
    return narrow if (narrow == weights).all() else weights


def in_words(weights: np.ndarray) -> np.ndarray:
    """Two of weights [K…, N] that follow one another along the last K to a word, with a zero behind an odd one."""
    missing = weights.shape[-2] % 2
    even = np.pad(weights, [(0, 0)] * (weights.ndim - 2) + [(0, missing), (0, 0)])
    *rest, depth, columns = even.shape
    neighbours = np.moveaxis(even.reshape(*rest, depth // 2, 2, columns), -2, -1)
    return np.ascontiguousarray(neighbours).view(_WORDS[str(weights.dtype)])[..., 0]


def are_words(dtype: str) -> bool:
    """Whether weights of a dtype stand two to a word."""
    return dtype in _WORDS.values()


def term(element: Callable[[tirx.Expr], tirx.Expr], k: tirx.Expr, weight: tirx.Expr) -> tirx.Expr:
    """What a product sums.

    Args:
        element: From an index to what the weights are multiplied with, float32 or int16.
        k: The index of a weight, or of a word of two.
        weight: The weight, or the word.

    Returns:
        One product in float32, or one or two in int32.
    """
    dtype = str(weight.ty.dtype)
    if are_words(dtype):
        both = spread(tirx.reinterpret("int16", weight)) if dtype == "uint16" else tirx.reinterpret("int32", weight)
        return dot(pair(element(2 * k), element(2 * k + 1)), both)
    if dtype == "float32":
        return element(k) * weight
    return element(k).astype("int32") * weight.astype("int32")
