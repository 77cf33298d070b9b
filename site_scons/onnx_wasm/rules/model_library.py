"""The rule ModelLibrary."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step, workspace

_STATUSES = WRAPPER / "src" / "status.rs"
_STEP = step.Step(
    "ModelLibrary",
    "model_library",
    (
        *("errors.py", "interface.py", "manifest.py", "platforms.py", "status.py", "toml_tables.py", "wasm.py"),
        *("actions/common.py", "actions/model_library.py"),
    ),
    ("python", "archiver"),
    memory=step.Memory(60_000_000, 1),
)


def rule() -> Builder:
    """``env.ModelLibrary(target, source)``: a model as a static library with a deterministic archive's bytes.

    Args:
        target: The library, ``build/x/libmnist.a``. The interface, ``mnist.interface.json``, is put beside it.
        source: What ``WasmObject`` made: the object, the graph, the parameters.
        INTERFACE: ``{"inputs": [...], "outputs": [...]}``: the manifest's tables, as ``dataclasses.asdict`` gives them.
        WASM_PLATFORM: Where the module will run. Default ``teaclave``.
        EXECUTOR: ``aot`` or ``graph``. Default ``aot``.
        PARAMS_ARGUMENT: The argument that will name the file of the weights. Default: the module holds them.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, prefix="lib", suffix=".a")


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    return [target[0], step.beside(source[0], ".interface.json")], [*source, env.File(str(_STATUSES))]


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    declared = {"inputs": [], "outputs": [], **env.get("INTERFACE", {})}
    return step.Words(
        [
            *("--object", source[0].path, "--graph", source[1].path, "--params", source[2].path),
            *("--platform", env.get("WASM_PLATFORM", "teaclave")),
            *("--executor", env.get("EXECUTOR", "aot"), "--declared", json.dumps(declared, sort_keys=True)),
            *step.named("--params-argument", env.get("PARAMS_ARGUMENT", "")),
            *("--library", target[0].path, "--interface", target[1].path),
        ],
        ["--statuses", source[3].path, "--archiver", json.dumps(workspace.of(env).toolchain.archiver.command)],
    )
