"""How kernels are written in numbers: a tensor's elements at computed places, and operands that spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx


def extents(tensor: te.Tensor) -> list[int]:
    """A tensor's static shape."""
    return [int(it) for it in tensor.shape]


def spread(tensor: te.Tensor, indices: Sequence[Any]) -> tirx.Expr:
    """An operand's element where its shape is spread over more dimensions, as NumPy spreads it."""
    shape = extents(tensor)
    own = indices[len(indices) - len(shape) :]
    return tensor(*(0 if extent == 1 else index for extent, index in zip(shape, own, strict=True)))


def elementwise(shape: Sequence[int], function: Callable[..., tirx.Expr]) -> Callable[..., te.Tensor]:
    """A kernel that computes each element from those of its operands, which spread.

    Args:
        shape: The result's.
        function: Of the operands' elements.
    """

    def compute(*tensors: te.Tensor) -> te.Tensor:
        return te.compute(shape, lambda *indices: function(*(spread(it, indices) for it in tensors)))

    return compute


def within(index: Any, extent: int) -> tirx.Expr:
    """Whether an index is one of a dimension."""
    return tirx.all(index >= 0, index < extent)


def clamped(index: Any, extent: int) -> tirx.Expr:
    """The nearest index of a dimension."""
    return tirx.max(tirx.min(index, extent - 1), 0)


def replaced(indices: Sequence[Any], axis: int, index: Any) -> list[Any]:
    """Indices with another one along an axis."""
    return [*indices[:axis], index, *indices[axis + 1 :]]
