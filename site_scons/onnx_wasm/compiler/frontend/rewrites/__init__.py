"""ONNX → ONNX: nodes that are taken apart into others, one family per file.

A family's module has a table ``REWRITES``: from domain and operator to a function of the scope and the node. It gives
the nodes that take the node's place, or None to leave it as it is; what it gives is walked in turn.
"""

from __future__ import annotations

from onnx_wasm.compiler.frontend.rewrites import (
    activations,
    casts,
    conditions,
    definitions,
    ensembles,
    features,
    layout,
    learners,
    logic,
    loops,
    normalization,
    padding,
    quantised,
    shapes,
)
from onnx_wasm.compiler.frontend.walk import Rewrite

_FAMILIES = (
    activations,
    casts,
    conditions,
    definitions,
    ensembles,
    features,
    layout,
    learners,
    logic,
    loops,
    normalization,
    padding,
    quantised,
    shapes,
)
REWRITES: dict[tuple[str, str], Rewrite] = {key: it for family in _FAMILIES for key, it in family.REWRITES.items()}
