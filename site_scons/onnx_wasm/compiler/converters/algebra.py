"""Determinants of small matrices."""

from __future__ import annotations

from typing import Any

from tvm import relax, te, tirx

from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.frontend.refusal import Refusal

_LARGEST = 4


def _determinant(call: Call) -> relax.Expr:
    """By minors along the first row."""
    data = call.operand(0)
    shape = [int(it) for it in data.ty.shape.values]
    size = shape[-1]
    if size > _LARGEST:
        raise Refusal(f"takes a matrix of {size} rows; those of up to {_LARGEST} can be compiled")

    def compute(x: te.Tensor) -> te.Tensor:
        def minor(outer: tuple[Any, ...], row: int, columns: list[int]) -> tirx.Expr:
            if len(columns) == 1:
                return x(*outer, row, columns[0])
            total: Any = None
            for position, column in enumerate(columns):
                rest = minor(outer, row + 1, columns[:position] + columns[position + 1 :])
                term = x(*outer, row, column) * rest
                total = term if total is None else total - term if position % 2 else total + term
            return total

        return te.compute(shape[:-2], lambda *outer: minor(outer, 0, list(range(size))))

    return call.kernel(compute, data)


CONVERTERS: dict[tuple[str, str], Converter] = {("", "Det"): _determinant}
