"""Tensors as the files that a module reads and writes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CHANNELS = {"gray": [0], "rgb": [0, 1, 2], "bgr": [2, 1, 0]}
"""For each color the channels of a decoded picture, in the input's order."""


def to_file(tensor: np.ndarray, format_: str) -> bytes:
    """Writes a tensor as the file of an input of format ``npy`` or ``raw``."""
    if format_ == "raw":
        return tensor.tobytes()
    file = io.BytesIO()
    np.save(file, tensor, allow_pickle=False)
    return file.getvalue()


def from_file(path: Path, described: Mapping[str, Any]) -> np.ndarray:
    """Reads a file of format ``npy`` or ``raw``.

    Args:
        path: The file.
        described: The interface's ``dtype``, ``shape`` and ``format``.

    Raises:
        ValueError: It does not hold such a tensor.
    """
    if described["format"] == "raw":
        return np.frombuffer(path.read_bytes(), described["dtype"]).reshape(described["shape"])
    tensor: np.ndarray = np.load(path, allow_pickle=False)
    return tensor


def from_pixels(pixels: np.ndarray, described: Mapping[str, Any]) -> np.ndarray:
    """Makes the tensor of a picture of the input's own size, as ARCHITECTURE.md says that the module does.

    Args:
        pixels: uint8 [height, width, channels], the channels in the input's order.
        described: The interface's ``dtype``, ``shape`` and ``image``.
    """
    how = described["image"]
    values = (pixels.astype("float32") - np.float32(how["mean"])) * np.float32(how["scale"])
    values = values.transpose(2, 0, 1) if how["layout"] == "nchw" else values
    return values.reshape(described["shape"]).astype(described["dtype"])


def png(pixels: np.ndarray) -> bytes:
    """Writes pixels [height, width, 1 or 3] of uint8 as PNG (https://www.w3.org/TR/png), without filters."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
