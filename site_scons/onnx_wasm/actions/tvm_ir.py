"""The action of the rule TvmIr: an ONNX file to TVM IR, its weights apart."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from onnx_wasm.actions.common import importing, main, written_whole
from onnx_wasm.errors import BuildError, Problem


def run(arguments: argparse.Namespace) -> None:
    """Imports the model and writes both files."""
    with importing():
        from onnx_wasm.compiler import pipeline

    shapes = {name: tuple(shape) for name, shape in arguments.freeze["shapes"].items()}
    if arguments.sha256:
        _check_sha256(arguments.model, arguments.sha256, str(arguments.manifest))
    freeze = pipeline.Freeze(shapes, arguments.freeze["dimensions"], arguments.freeze["values"])
    with written_whole(arguments.ir, arguments.weights) as (ir, weights):
        pipeline.to_ir(arguments.model, freeze, str(arguments.manifest), ir, weights)


def _check_sha256(model: Path, expected: str, label: str) -> None:
    with model.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        message = f"{model} has sha256 {found}, not {expected}"
        raise BuildError(
            Problem(label, message, "get the file that the manifest means, or correct it", ("model", "sha256"))
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.tvm_ir", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the ONNX file")
    parser.add_argument(
        "--freeze",
        type=json.loads,
        required=True,
        help='{"shapes": {name: [...]}, "dimensions": {name: n}, "values": {name: x}}',
    )
    parser.add_argument("--sha256", default="", help="the hash that the file must have")
    parser.add_argument("--ir", type=Path, required=True, help="the Relax module to write")
    parser.add_argument("--weights", type=Path, required=True, help="the safetensors file to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
