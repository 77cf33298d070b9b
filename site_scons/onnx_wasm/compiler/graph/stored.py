"""Weights in the numbers that the model stores them in: few bits in the module, floats where a kernel reads them.

``(values − zero) × factor`` is what ONNX defines DequantizeLinear by, and what a Cast, or a Cast and a Mul, come to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tvm import relax

from onnx_wasm.compiler.frontend.graph import NARROW

_WIDE = ("float32", "float64", "int16")


@dataclass(frozen=True)
class Stored:
    """A known tensor, as it is stored.

    Args:
        values: What is stored.
        dtype: What it is read as.
        zero: What is subtracted from values read; its shape broadcasts to theirs. None for nothing.
        factor: What the rest is multiplied by, likewise.
    """

    values: np.ndarray
    dtype: str
    zero: np.ndarray | None = None
    factor: np.ndarray | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it is read as it stands."""
        return str(self.values.dtype) == self.dtype

    def read(self) -> np.ndarray:
        """The tensor."""
        tensor = self.values.astype(self.dtype)
        tensor = tensor if self.zero is None else tensor - self.zero
        return tensor if self.factor is None else tensor * self.factor

    def laid_out(self, change: Callable[[np.ndarray], np.ndarray]) -> Stored:
        """The tensor in another layout.

        Args:
            change: Puts the elements of an array of ``values``'s shape elsewhere, and zeros where there are none.
        """
        values = change(self.values)
        zero, factor = (
            None if it is None else _without_repetition(change(np.broadcast_to(it, self.values.shape)))
            for it in (self.zero, self.factor)
        )
        if any(it is not None and it.size * 4 > values.size for it in (zero, factor)):
            return Stored(change(self.read()), self.dtype)  # nothing would be saved
        return Stored(values, self.dtype, zero, factor)


def reads(call: relax.Call) -> bool:
    """Whether a call may be one that only reads stored numbers."""
    return getattr(call.op, "name", "") in _READS and str(call.ty.dtype) in _WIDE


def read_by(call: relax.Call, operands: Sequence[Stored]) -> Stored | None:
    """What a call makes of known tensors, if it reads what is stored in few bits.

    Args:
        call: One that ``reads``.
        operands: Its arguments.
    """
    if str(operands[0].values.dtype) not in NARROW:
        return None
    if operands[0].values.shape != tuple(int(it) for it in call.ty.shape.values):
        return None
    return _READS[call.op.name](call, operands[0], [it.read() for it in operands[1:]])


def _cast(call: relax.Call, it: Stored, _: list[np.ndarray]) -> Stored | None:
    return Stored(it.values, str(call.ty.dtype)) if it.is_constant else None


def _subtract(_: relax.Call, it: Stored, others: list[np.ndarray]) -> Stored | None:
    return Stored(it.values, it.dtype, others[0]) if it.zero is None and it.factor is None else None


def _multiply(_: relax.Call, it: Stored, others: list[np.ndarray]) -> Stored | None:
    return Stored(it.values, it.dtype, it.zero, others[0]) if it.factor is None else None


def _dequantize(call: relax.Call, it: Stored, others: list[np.ndarray]) -> Stored | None:
    factor, zero = others
    dtype, shape = str(call.ty.dtype), [1] * it.values.ndim
    if factor.size > 1:
        shape[int(call.attrs.axis)] = -1
    of_each = np.broadcast_to(zero, factor.shape).astype(dtype).reshape(shape)
    return Stored(it.values, dtype, of_each if zero.any() else None, factor.reshape(shape)) if it.is_constant else None


_READS: Mapping[str, Callable[[relax.Call, Stored, list[np.ndarray]], Stored | None]] = {
    "relax.astype": _cast,
    "relax.subtract": _subtract,
    "relax.multiply": _multiply,
    "relax.dequantize": _dequantize,
}


def _without_repetition(array: np.ndarray) -> np.ndarray:
    """An array without the axes along which it repeats itself; it broadcasts to what it was."""
    for axis in range(array.ndim):
        first = array.take([0], axis) if array.size else array
        array = first if (array == first).all() else array
    return array
