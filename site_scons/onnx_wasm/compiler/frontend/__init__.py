"""ONNX → ONNX: a file as others made it becomes a graph that the importer can take. ``load`` says in which steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from onnx_wasm.compiler.frontend.freeze import freeze, settle
from onnx_wasm.compiler.frontend.graph import Graph, Node
from onnx_wasm.compiler.frontend.parse import parse
from onnx_wasm.compiler.frontend.rewrites import REWRITES
from onnx_wasm.compiler.frontend.walk import specialise


def load(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    dimensions: Mapping[str, int],
    label: str,
    is_known: Callable[[Node], bool],
    settled: Mapping[str, Any] | None = None,
) -> Graph:
    """Reads an untrusted ONNX file and makes it static.

    Args:
        path: The file; its external data lies beside it.
        shapes: Whole shapes, by the name of the input.
        dimensions: Extents, by the name of the dimension.
        label: What messages call the manifest or the model.
        is_known: Whether the importer has a converter for a node.
        settled: By the name of an input its value: a number or nested lists. The module does not take such an input.

    Returns:
        The model as nodes that the importer knows, all of static shape.

    Raises:
        BuildError: Everything that stands in the way.
    """
    model, values = parse(path)
    inputs = freeze(model.graph, shapes, dimensions, path, label)
    own = settle(inputs, settled or {}, path, label)
    taken = {name: it for name, it in inputs.items() if name not in own}
    return specialise(model, taken, values | own, REWRITES, is_known, path)
