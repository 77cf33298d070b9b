"""What a module is verified on: inputs drawn from a seed, and those of the manifest's tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onnx_wasm.verification import tensors

_SEED = 20_260_101
_INTEGERS = (0, 9)
"""Where integers are drawn from if the manifest gives no range: most that models take are indices or counts."""


@dataclass(frozen=True)
class Sample:
    """The inputs of one run.

    Args:
        name: What it is called in reports.
        tensors: For the reference, by the inputs' names.
        files: For the module, by the inputs' arguments: what holds the same.
    """

    name: str
    tensors: Mapping[str, np.ndarray]
    files: Mapping[str, bytes]

    def placed(self, folder: Path, outputs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Writes the inputs' files, and gives the arguments of a run on them.

        Args:
            folder: Where they are put, and outputs will be.
            outputs: The interface's; those that a run can write have an argument.
        """
        for key, data in self.files.items():
            (folder / key).write_bytes(data)
        keys = [*self.files, *(it["argument"] for it in outputs if it["argument"])]
        return {key: str(folder / key) for key in keys}


def drawn(inputs: Sequence[Mapping[str, Any]], ranges: Mapping[str, tuple[float, float]], number: int) -> Sample:
    """Draws a sample; the same number gives the same one.

    Args:
        inputs: The interface's.
        ranges: By name, the least and the greatest value that inputs may have.
        number: Which one.
    """
    made, files = {}, {}
    for index, it in enumerate(inputs):
        random = np.random.default_rng([_SEED, number, index])
        if it["format"] == "image":
            made[it["name"]], files[it["argument"]] = _picture(it, random)
        else:
            made[it["name"]] = tensor = _tensor(it, ranges.get(it["name"]), random)
            files[it["argument"]] = tensors.to_file(tensor, it["format"])
    return Sample(f"sample {number}", made, files)


def of_test(inputs: Sequence[Mapping[str, Any]], name: str, files: Mapping[str, Path]) -> Sample | None:
    """The inputs of a test, if they are there as tensors: pictures are for the module to decode.

    Args:
        inputs: The interface's.
        name: What the test is called.
        files: By argument.

    Raises:
        ValueError: A file does not hold the input's tensor.
        OSError: A file cannot be read.
    """
    if any(it["format"] == "image" or it["argument"] not in files for it in inputs):
        return None
    made = {it["name"]: tensors.from_file(files[it["argument"]], it) for it in inputs}
    return Sample(f"test {name}", made, {it["argument"]: files[it["argument"]].read_bytes() for it in inputs})


def _tensor(it: Mapping[str, Any], range_: tuple[float, float] | None, random: np.random.Generator) -> np.ndarray:
    dtype, shape = np.dtype(it["dtype"]), tuple(it["shape"])
    if dtype.kind == "f":
        values = random.standard_normal(shape) if range_ is None else random.uniform(*range_, shape)
        return np.asarray(values, dtype)
    least, most = (0, 1) if dtype.kind == "b" else range_ or _INTEGERS
    return random.integers(int(least), int(most), shape, endpoint=True).astype(dtype)


def _picture(it: Mapping[str, Any], random: np.random.Generator) -> tuple[np.ndarray, bytes]:
    """A picture of the input's own size, so that nothing is resized, and the tensor that it must become."""
    how, shape = it["image"], tuple(it["shape"])
    *_, height, width = shape if how["layout"] == "nchw" else shape[:-1]
    channels = tensors.CHANNELS[how["color"]]
    pixels = random.integers(0, 256, (height, width, len(channels)), dtype=np.uint8)
    stored = pixels if len(channels) == 1 else pixels[..., np.argsort(channels)]
    return tensors.from_pixels(pixels, it), tensors.png(stored)
