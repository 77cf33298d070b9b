"""Weights in panels, as the kernels of products read them, and what they are multiplied with to match."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.anchors import integers
from onnx_wasm.compiler.graph.rewriter import Rewriter, constant, dtype_of, shape_of
from onnx_wasm.compiler.graph.stored import Stored
from onnx_wasm.compiler.targets import has_vectors

PRODUCTS = frozenset((("float32", "float32"), ("int16", "int32")))
"""Which products have kernels: the dtypes of what is multiplied, and of the result."""


Change = Callable[[np.ndarray], np.ndarray]


def panels(rewriter: Rewriter, weights: Stored, order: Change, pack: Change) -> tuple[relax.Expr, int]:
    """Binds the weights of products.

    Args:
        rewriter: What binds them.
        weights: As they are stored.
        order: Puts their elements into the order [K…, N].
        pack: Makes panels of that.

    Returns:
        The panels, and what integers in them are less. They stand in as few bits as hold them, two to a word if there
        are vectors.
    """
    if weights.dtype == "float32":
        return rewriter.read(weights.laid_out(lambda it: pack(order(it)))), 0
    whole = order(weights.read())
    if not has_vectors():
        return constant(pack(integers.narrowed(whole))), 0
    offset = integers.offset_of(whole)
    return constant(pack(integers.in_words(whole, offset))), offset


def single(rewriter: Rewriter, weights: Stored, order: Change) -> relax.Expr:
    """Binds weights that stand alone, in the order that ``order`` puts them into."""
    if weights.dtype == "float32":
        return rewriter.read(weights.laid_out(order))
    return constant(integers.narrowed(order(weights.read())))


def fitting(rewriter: Rewriter, x: relax.Expr, packed: relax.Expr) -> relax.Expr:
    """What is multiplied, […, K], with a zero behind it if weights stand two to a word and K is odd."""
    if shape_of(x)[-1] % 2 == 0 or not integers.are_words(dtype_of(packed)):
        return x
    return rewriter.emit(R.nn.pad(x, [0, 0] * (len(shape_of(x)) - 1) + [0, 1]))
