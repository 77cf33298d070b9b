"""The action of the rule WasmVerify: the finished module, in its host, against ONNX's own definition of the model."""

from __future__ import annotations

import argparse
import json
import struct
import sys
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx.reference import ReferenceEvaluator

from onnx_wasm.actions.common import main, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.loading import load
from onnx_wasm.hosts.result import Host
from onnx_wasm.status import statuses

_SEED = 20_260_101
_LARGEST_INTEGER = 10
"""Integers are drawn below this: most that models take are indices or counts."""

_CHANNELS = {"gray": [0], "rgb": [0, 1, 2], "bgr": [2, 1, 0]}


@dataclass(frozen=True)
class Worst:
    """The element of an output that is furthest from the reference.

    Args:
        output: The output's name.
        index: Where the element is.
        found: The module's value.
        wanted: The reference's.
        share: The difference as a share of the output's largest element.
    """

    output: str
    index: tuple[int, ...]
    found: float
    wanted: float
    share: float

    def __str__(self) -> str:
        values = f"{self.found:.9g}, not {self.wanted:.9g}"
        return f"{self.output}{list(self.index)} is {values} ({self.share:.1e} of the largest)"


def run(arguments: argparse.Namespace) -> None:
    """Runs every sample in both, prints the worst element of each output, and writes the report if all are close.

    Raises:
        BuildError: An output is too far from the reference, or the module failed.
    """
    interface = json.loads(arguments.interface.read_text(encoding="utf-8"))
    host = load(arguments.module)
    reference = ReferenceEvaluator(onnx.load(arguments.model))
    label, report, problems = str(arguments.manifest), [], []
    for sample in range(arguments.samples):
        tensors, files = _draw(interface["inputs"], sample)
        wanted = dict(zip(reference.output_names, reference.run(None, tensors), strict=True))
        found = _run(host, files, interface["outputs"], f"{label}: sample {sample}")
        for name, tensor in found.items():
            worst = _worst(name, tensor, np.asarray(wanted[name]))
            sys.stdout.write(f"{label}: sample {sample}: {worst}\n")
            report.append({"sample": sample, "output": name, "share": worst.share})
            limit = arguments.tolerance if tensor.dtype.kind == "f" else 0
            if not worst.share <= limit:
                problems.append(Problem(label, f"sample {sample}: {worst}; allowed is {limit:g}", key=("verify",)))
    if problems:
        raise BuildError(problems)
    with written_whole(arguments.report) as (path,):
        path.write_text(json.dumps({"tolerance": arguments.tolerance, "outputs": report}, indent=1) + "\n", "utf-8")


def _draw(inputs: list[dict[str, Any]], sample: int) -> tuple[dict[str, np.ndarray], dict[str, bytes]]:
    """Draws inputs: the tensors for the reference, and for the module the files that hold the same."""
    tensors, files = {}, {}
    for index, it in enumerate(inputs):
        random = np.random.default_rng([_SEED, sample, index])
        if it["format"] == "image":
            tensors[it["name"]], files[it["argument"]] = _picture(it, random)
        else:
            tensors[it["name"]] = tensor = _tensor(it, random)
            files[it["argument"]] = tensor.tobytes() if it["format"] == "raw" else _npy(tensor)
    return tensors, files


def _tensor(it: Mapping[str, Any], random: np.random.Generator) -> np.ndarray:
    dtype, shape = np.dtype(it["dtype"]), tuple(it["shape"])
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    return random.integers(0, 2 if dtype.kind == "b" else _LARGEST_INTEGER, shape).astype(dtype)


def _picture(it: Mapping[str, Any], random: np.random.Generator) -> tuple[np.ndarray, bytes]:
    """A picture of the input's own size, so that nothing is resized, and the tensor that it must become."""
    how, shape = it["image"], tuple(it["shape"])
    *_, height, width = shape if how["layout"] == "nchw" else shape[:-1]
    channels = _CHANNELS[how["color"]]
    pixels = random.integers(0, 256, (height, width, len(channels)), dtype=np.uint8)
    values = (pixels.astype("float32") - np.float32(how["mean"])) * np.float32(how["scale"])
    values = values.transpose(2, 0, 1) if how["layout"] == "nchw" else values
    stored = pixels if len(channels) == 1 else pixels[..., np.argsort(channels)]
    return values.reshape(shape).astype(it["dtype"]), _png(stored)


def _png(pixels: np.ndarray) -> bytes:
    """Writes pixels [height, width, 1 or 3] of uint8 as PNG (https://www.w3.org/TR/png), without filters."""
    height, width, channels = pixels.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _npy(tensor: np.ndarray) -> bytes:
    with tempfile.TemporaryFile() as file:
        np.save(file, tensor, allow_pickle=False)
        file.seek(0)
        return file.read()


def _run(host: Host, files: Mapping[str, bytes], outputs: list[dict[str, Any]], where: str) -> dict[str, np.ndarray]:
    """Runs the module on files and gives every output that it can write."""
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-verify-") as folder:
        arguments = {}
        for key, data in files.items():
            arguments[key] = str(Path(folder, key))
            Path(folder, key).write_bytes(data)
        written = [it for it in outputs if it["argument"]]
        arguments |= {it["argument"]: str(Path(folder, it["argument"])) for it in written}
        result = host.run(arguments)
        if result.value is None or result.value < 0:
            status = statuses().get(result.value or 0)
            message = f"returned {result.value}" + (f": {status.text}" if status else "")
            raise BuildError(Problem(where, result.trap or message))
        return {it["name"]: _read(Path(folder, it["argument"]), it) for it in written}


def _read(path: Path, it: Mapping[str, Any]) -> np.ndarray:
    if it["format"] == "raw":
        return np.frombuffer(path.read_bytes(), it["dtype"]).reshape(it["shape"])
    tensor: np.ndarray = np.load(path, allow_pickle=False)
    return tensor


def _worst(name: str, found: np.ndarray, wanted: np.ndarray) -> Worst:
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        message = f"{name} is {found.dtype}{list(found.shape)}, not {wanted.dtype}{list(wanted.shape)}"
        raise BuildError(Problem(name, message))
    if found.size == 0:
        return Worst(name, (), 0, 0, 0)
    exact, given = np.atleast_1d(wanted).astype("float64"), np.atleast_1d(found).astype("float64")
    same = (given == exact) | (np.isnan(given) & np.isnan(exact))
    with np.errstate(invalid="ignore"):
        away = np.where(same, 0, np.abs(given - exact))
    away = np.where(np.isnan(away), np.inf, away)
    index = tuple(int(it) for it in np.unravel_index(int(away.argmax()), away.shape))
    largest = float(np.abs(exact[np.isfinite(exact)]).max(initial=0)) or 1.0
    return Worst(name, index, float(given[index]), float(exact[index]), float(away[index]) / largest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.verify", description=__doc__)
    parser.add_argument("--module", type=Path, required=True, help="the module to verify")
    parser.add_argument("--interface", type=Path, required=True, help="its interface")
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file that it was made from")
    parser.add_argument("--samples", type=int, required=True, help="how many inputs to draw")
    parser.add_argument("--tolerance", type=float, required=True, help="the greatest difference allowed")
    parser.add_argument("--report", type=Path, required=True, help="the report to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
