"""Kernels written as loops, where a tensor expression cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import te, tirx
from tvm.script.ir_builder import IRBuilder
from tvm.script.ir_builder import tirx as T  # noqa: N812 - TVM's own abbreviation


def in_order(results: Sequence[tuple[Sequence[int], str]], write: Callable[..., None], *tensors: te.Tensor) -> Any:
    """A kernel as loops.

    Args:
        results: The results' shapes and dtypes.
        write: Builds the loops; it is given the operands, then the results, as flat buffers.
        tensors: The operands.

    Returns:
        The result; several as a list.
    """
    operands = [tirx.decl_buffer(it.shape, it.dtype, f"operand{index}") for index, it in enumerate(tensors)]
    made = [tirx.decl_buffer(shape, dtype, f"result{index}") for index, (shape, dtype) in enumerate(results)]

    def body(reads: Sequence[Any], writes: Sequence[Any]) -> Any:
        with IRBuilder() as builder:
            with T.serial(0, 1):  # one statement around all
                write(*(T.buffer_proxy(it) for it in (*reads, *writes)))
            return builder.get()

    shapes, dtypes = [shape for shape, _ in results], [dtype for _, dtype in results]
    return te.extern(shapes, list(tensors), body, dtype=dtypes, in_buffers=operands, out_buffers=made, name="in_order")
