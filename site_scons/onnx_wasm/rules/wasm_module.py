"""The rule WasmModule."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step, workspace

_STEP = step.Step(
    "WasmModule",
    "wasm_module",
    (
        *("errors.py", "platforms.py", "symbols.py", "wasm.py", "hosts/__init__.py", "hosts/checks.py"),
        *("actions/common.py", "actions/wasm_module.py"),
    ),
    ("python", "linker", "wasmtime"),
    memory=step.Memory(60_000_000, 4),
)


def rule() -> Builder:
    """``env.WasmModule(target, source)``: libraries linked to a module that its platform can load.

    Args:
        target: The module, ``build/x/mnist.wasm``. The names of its functions, ``mnist.symbols.json``, are put beside
            it.
        source: The model's library, then the wrapper's.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        TARGET_FEATURES: The platform's optional features that the module uses. Default: none.
        PARAMS_ARGUMENT: The argument that will name the file of the weights. Default: the module holds them.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".wasm")


def _targets(target: list[File], source: list[File], _env: Environment) -> tuple[list[Node], list[Node]]:
    return [target[0], step.beside(target[0], ".symbols.json")], source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    libraries = [word for library in source for word in ("--library", library.path)]
    signed = [*libraries, "--platform", env.get("WASM_PLATFORM", "teaclave"), *step.target_features(env)]
    signed += ["--module", target[0].path, "--symbols", target[1].path]
    if env.get("PARAMS_ARGUMENT"):
        signed.append("--params-in-file")
    return step.Words(signed, ["--linker", json.dumps(workspace.of(env).toolchain.linker.command)])
