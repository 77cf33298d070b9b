"""The rule WasmModule."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node.FS import File

from onnx_wasm.rules import step, workspace

_STEP = step.Step(
    "WasmModule",
    "wasm_module",
    (
        *("errors.py", "platforms.py", "wasm.py", "hosts/__init__.py", "hosts/checks.py"),
        *("actions/common.py", "actions/wasm_module.py"),
    ),
    ("python", "linker", "wasmtime"),
)


def rule() -> Builder:
    """``env.WasmModule(target, source)``: libraries linked to a module that its platform can load.

    Args:
        target: The module, ``build/x/mnist.wasm``.
        source: The model's library, then the wrapper's.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, suffix=".wasm")


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    libraries = [word for library in source for word in ("--library", library.path)]
    signed = [*libraries, "--platform", env.get("WASM_PLATFORM", "teaclave"), "--module", target[0].path]
    return step.Words(signed, ["--linker", json.dumps(workspace.of(env).toolchain.linker.command)])
