"""The rule TvmIr."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File
from SCons.Scanner import Base as Scanner

from onnx_wasm import external_data
from onnx_wasm.rules import step

_STEP = step.Step(
    "TvmIr",
    "tvm_ir",
    (
        *("errors.py", "platforms.py", "toml_tables.py", "tuning.py"),
        *("actions/common.py", "actions/tvm_ir.py", "compiler"),
    ),
    ("python", "tvm", "onnx", "numpy", "safetensors"),
    memory=step.Memory(240_000_000, 5),
)


def rule() -> Builder:
    """``env.TvmIr(target, source)``: an ONNX file as TVM IR, its weights apart.

    Args:
        target: The IR, ``build/x/mnist.ir.json``. The weights, ``mnist.weights.safetensors``, are put beside it.
        source: The ONNX file. Files that hold its external data are found by a scanner.
        FREEZE: ``{"shapes": {input: [...]}, "dimensions": {name: n}, "values": {input: x}}``: what the file leaves
            open.
        SHA256: The file's hash, if it must have one.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".ir.json", source_scanner=external_data_scanner())


def external_data_scanner() -> Scanner:
    """Finds the files that an ONNX file's weights are in."""
    return Scanner(_external_data, skeys=[".onnx"])


def _targets(target: list[File], source: list[File], _env: Environment) -> tuple[list[Node], list[Node]]:
    return [target[0], step.beside(target[0], ".weights.safetensors")], source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    freeze = {"shapes": {}, "dimensions": {}, "values": {}, **env.get("FREEZE", {})}
    files = ["--model", source[0].path, "--ir", target[0].path, "--weights", target[1].path]
    return step.Words([*files, "--freeze", json.dumps(freeze, sort_keys=True), "--sha256", env.get("SHA256", "")])


def _external_data(node: File, _env: Environment, _path: object) -> list[Node]:
    # One that is missing is for the action to tell of: SCons would not know which model asks for it.
    files = (node.dir.File(location) for location in external_data.locations(node.get_abspath()))
    found = [file for file in files if file.exists() or file.is_derived()]
    for file in found:
        step.distrust_time(file)
    return found
