"""The rule WasmVerify."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step, tvm_ir

_STEP = step.Step(
    "WasmVerify",
    "verify",
    (
        *("errors.py", "platforms.py", "status.py", "wasm.py", "hosts", "verification"),
        *("actions/common.py", "actions/verify.py"),
    ),
    ("python", "wasmtime", "numpy", "onnx"),
    memory=step.Memory(300_000_000, 8),
)
_DEFAULTS: dict[str, object] = {
    "samples": 2,
    "tolerance": 1e-4,
    "reference": None,
    "ranges": {},
    "values": {},
    "tolerances": {},
    "shapes": {},
    "dimensions": {},
    "tests": [],
    "directory": ".",
}


def rule() -> Builder:
    """``env.WasmVerify(target, source)``: holds the finished module, in its host, against ONNX's definition of it.

    Args:
        target: The report, ``build/x/mnist.verify.json``, there only if every output was close enough.
        source: The module, its interface, the ONNX file, with PARAMS_ARGUMENT the file of the weights, then every file
            that the tests read.
        VERIFY: The manifest's ``[verify]``, as ``dataclasses.asdict`` gives it, and what goes with it by name:
            ``ranges`` that inputs are drawn from, ``values`` of inputs that the module does not take, ``tolerances`` of
            outputs, ``shapes`` and ``dimensions`` that were frozen, ``tests`` and the ``directory`` of their files.
        PARAMS_ARGUMENT: The argument that names the file of the weights. Default: the module holds them.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(
        _STEP, _arguments, _sources, suffix=".verify.json", source_scanner=tvm_ir.external_data_scanner()
    )


def _sources(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    return target, [*source, env.File(str(WRAPPER / "src" / "status.rs"))]  # for what the module's errors mean


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    files = ["--module", source[0].path, "--interface", source[1].path, "--model", source[2].path]
    how = _DEFAULTS | dict(env.get("VERIFY", {}))
    params = step.named("--params", env.get("PARAMS_ARGUMENT", ""), *(it.path for it in source[3:4]))
    return step.Words([*files, *params, "--how", json.dumps(how, sort_keys=True), "--report", target[0].path])
