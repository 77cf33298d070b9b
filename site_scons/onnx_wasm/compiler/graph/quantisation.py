"""What QuantizeLinear is, once converted: found again in a function, so that passes can keep integers as integers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from tvm import relax

from onnx_wasm.compiler.graph.rewriter import Rewriter, array_of, dtype_of, is_constant


@dataclass(frozen=True)
class Quantisation:
    """How floats are made bytes: divided by the scale, rounded, moved by the zero point and saturated.

    Args:
        scale: Float32, above zero.
        zero: The zero point.
        dtype: Of the bytes.
    """

    scale: float
    zero: int
    dtype: str

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the greatest byte, less the zero point."""
        limits = np.iinfo(self.dtype)
        return limits.min - self.zero, limits.max - self.zero


def quantised_by(rewriter: Rewriter, expression: relax.Expr) -> tuple[relax.Expr, Quantisation] | None:
    """What is quantised, and how; None if a tensor is not made so by numbers that are known.

    Args:
        rewriter: What rebuilds the function.
        expression: A tensor of the original function.
    """
    narrowed = rewriter.call_of(expression, "relax.astype")
    clipped = None if narrowed is None else rewriter.call_of(narrowed.args[0], "relax.clip")
    if narrowed is None or clipped is None or dtype_of(narrowed) not in ("int8", "uint8"):
        return None
    limits = np.iinfo(dtype_of(narrowed))
    if [float(it.value) for it in clipped.args[1:]] != [limits.min, limits.max]:
        return None
    moved, zero = _without(rewriter, clipped.args[0], "relax.add", 0.0)
    rounded = rewriter.call_of(moved, "relax.round")
    if rounded is None or dtype_of(rounded) != "float32":
        return None
    value, scale = _without(rewriter, rounded.args[0], "relax.divide", 1.0)
    if not (scale > 0 and zero.is_integer() and limits.min <= zero <= limits.max):
        return None
    return value, Quantisation(scale, int(zero), dtype_of(narrowed))


def _without(rewriter: Rewriter, expression: relax.Expr, operator: str, nothing: float) -> tuple[relax.Expr, float]:
    """What a known number is the second operand with, and that number; the tensor itself and ``nothing`` otherwise."""
    call = rewriter.call_of(expression, operator)
    if call is None or not is_constant(call.args[1]) or array_of(call.args[1]).size > 1:
        return expression, nothing
    return call.args[0], float(array_of(call.args[1]).item())
