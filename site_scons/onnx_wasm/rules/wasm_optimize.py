"""The rule WasmOptimize."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node.FS import File

from onnx_wasm.rules import step, workspace

_STEP = step.Step(
    "WasmOptimize",
    "wasm_optimize",
    (
        *("errors.py", "platforms.py", "wasm.py", "hosts/__init__.py", "hosts/checks.py"),
        *("actions/common.py", "actions/wasm_optimize.py"),
    ),
    ("python", "optimizer", "wasmtime"),
)


def rule() -> Builder:
    """``env.WasmOptimize(target, source)``: a module made smaller by binaryen's ``wasm-opt``, for a release.

    Names and paths go; a module that would grow stays as it is.

    Args:
        target: The smaller module, ``build/x/mnist.wasm``.
        source: The module that ``WasmModule`` made.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        TARGET_FEATURES: The platform's optional features that the module uses. Default: none.
        PARAMS_ARGUMENT: The argument that will name the file of the weights. Default: the module holds them.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, suffix=".wasm")


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    signed = ["--module", source[0].path, "--platform", env.get("WASM_PLATFORM", "teaclave")]
    signed += [*step.target_features(env), "--optimized", target[0].path]
    if env.get("PARAMS_ARGUMENT"):
        signed.append("--params-in-file")
    optimizer = workspace.of(env).toolchain.optimizer
    assert optimizer is not None  # a release without it has been refused
    return step.Words(signed, ["--optimizer", json.dumps(optimizer.command)])
