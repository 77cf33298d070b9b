"""The weights as the kernels read them: raw little-endian tensors, each where the plan puts it."""

from __future__ import annotations

from pathlib import Path

from onnx_wasm.compiler.plan import PARAMS, Plan


def write(plan: Plan, path: Path) -> None:
    """Writes the area of the parameters.

    Args:
        plan: What the parameters are and where each stands.
        path: The file to write, ``plan.sizes["params"]`` bytes long; what lies between two tensors is zero.
    """
    with path.open("wb") as file:
        for tensor in plan.params:
            file.seek(plan.places[tensor.buffer].offset)
            file.write(plan.values[tensor.buffer].tobytes())
        file.truncate(plan.sizes[PARAMS])
