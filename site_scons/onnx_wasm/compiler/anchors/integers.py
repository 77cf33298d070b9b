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


def offset_of(weights: np.ndarray) -> int:
    """What weights of int16, and zero, are to be less so that a byte holds each; 0 if they fit so, or never do."""
    least, most = min(int(weights.min(initial=0)), 0), max(int(weights.max(initial=0)), 0)
    limits = np.iinfo("int8")
    if (least >= limits.min and most <= limits.max) or most - least > limits.max - limits.min:
        return 0
    return least - limits.min


def in_words(weights: np.ndarray, offset: int) -> np.ndarray:
    """Two of weights [K…, N] that follow one another along the last K to a word, with a zero behind an odd one.

    Args:
        weights: Of int16.
        offset: What is subtracted from each.
    """
    missing = weights.shape[-2] % 2
    even = narrowed(np.pad(weights, [(0, 0)] * (weights.ndim - 2) + [(0, missing), (0, 0)]) - np.int16(offset))
    *rest, depth, columns = even.shape
    neighbours = np.moveaxis(even.reshape(*rest, depth // 2, 2, columns), -2, -1)
    return np.ascontiguousarray(neighbours).view(_WORDS[str(even.dtype)])[..., 0]


def are_words(dtype: str) -> bool:
    """Whether weights of a dtype stand two to a word."""
    return dtype in _WORDS.values()


def term(element: Callable[[tirx.Expr], tirx.Expr], k: tirx.Expr, weight: tirx.Expr, offset: int = 0) -> tirx.Expr:
    """What a product sums.

    Args:
        element: From an index to what the weights are multiplied with, float32 or int16.
        k: The index of a weight, or of a word of two.
        weight: The weight, or the word.
        offset: What each of two bytes in a word is less.

    Returns:
        One product in float32, or one or two in int32.
    """
    dtype = str(weight.ty.dtype)
    if are_words(dtype):
        is_bytes = dtype == "uint16"
        both = spread(tirx.reinterpret("int16", weight), offset) if is_bytes else tirx.reinterpret("int32", weight)
        return dot(pair(element(2 * k), element(2 * k + 1)), both)
    if dtype == "float32":
        return element(k) * weight
    return element(k).astype("int32") * weight.astype("int32")
