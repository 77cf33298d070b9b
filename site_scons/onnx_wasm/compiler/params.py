"""The weights as the kernels read them: raw little-endian tensors, each where the plan puts it."""

from __future__ import annotations

from pathlib import Path

from onnx_wasm.compiler.plan import PARAMS, Plan
from onnx_wasm.compiler.weights import Weights


def write(plan: Plan, weights: Weights, path: Path) -> None:
    """Writes the area of the parameters.

    Args:
        plan: Where each parameter stands.
        weights: Their values, by the buffer's name.
        path: The file to write, ``plan.sizes["params"]`` bytes long; what lies between two tensors is zero.
    """
    with path.open("wb") as file:
        for tensor in plan.params:
            file.seek(plan.places[tensor.buffer].offset)
            file.write(weights[tensor.buffer].tobytes())
        file.truncate(plan.sizes[PARAMS])
