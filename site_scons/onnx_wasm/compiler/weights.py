"""The weights of a model on their way to the module: apart from the IR, by name, in safetensors files.

Source of the format: https://github.com/huggingface/safetensors (a JSON header, then the tensors, little-endian).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

Weights = Mapping[str, np.ndarray]


def save(weights: Weights, path: Path) -> None:
    """Writes weights as a safetensors file; the same weights give the same bytes.

    Raises:
        OSError: The disk is full.
    """
    try:
        save_file({name: np.ascontiguousarray(array) for name, array in weights.items()}, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def load(path: Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file that ``save`` wrote."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - a method of safe_open, not a dict's
