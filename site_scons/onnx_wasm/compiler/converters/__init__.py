"""ONNX → Relax: our own converters, in place of TVM's or where it has none; one family per file.

A family's module has a table ``CONVERTERS``: from domain (``""`` for ONNX's own) and operator to a function of the
``Call``. It gives the outputs' expressions: one, or a sequence. What it cannot convert rightly it refuses.
"""

from __future__ import annotations

from onnx_wasm.compiler.converters import (
    algebra,
    arithmetic,
    bounds,
    gathering,
    integers,
    moving,
    quantising,
    recurrent,
    reductions,
    resizing,
    sampling,
    sequences,
    shaping,
    storage,
    transposed,
    trees,
    windows,
)
from onnx_wasm.compiler.converters.call import Call, Converter
from onnx_wasm.compiler.converters.halves import narrowed, widened
from onnx_wasm.compiler.converters.tvm_own import tvm_converter
from onnx_wasm.compiler.frontend.graph import Node

_FAMILIES = (
    algebra,
    arithmetic,
    bounds,
    gathering,
    integers,
    moving,
    quantising,
    recurrent,
    reductions,
    resizing,
    sampling,
    sequences,
    shaping,
    storage,
    transposed,
    trees,
    windows,
)
CONVERTERS: dict[tuple[str, str], Converter] = {
    key: convert for family in _FAMILIES for key, convert in family.CONVERTERS.items()
}


def converter(node: Node) -> Converter | None:
    """What converts a node: ours, or else TVM's; None if there is neither."""
    return CONVERTERS.get(node.key) or tvm_converter(node)


__all__ = ["CONVERTERS", "Call", "Converter", "converter", "narrowed", "widened"]
