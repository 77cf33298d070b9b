"""The rule WasmProfile."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step, workspace

_STEP = step.Step(
    "WasmProfile",
    "profile",
    (
        *("columns.py", "errors.py", "platforms.py", "wasm.py", "hosts", "profile"),
        *("actions/common.py", "actions/profile.py"),
    ),
    ("python", "linker", "wasmtime", "numpy"),
)


def rule() -> Builder:
    """``env.WasmProfile(target, source)``: where a model's time goes, kernel by kernel.

    It measures whenever it is asked for: in V8 for ``web``, in wasmtime for ``wasi``; for ``teaclave``, whose runtime
    interprets, it counts instructions.

    Args:
        target: The report, ``build/x/mnist.profile.json``. The page, ``mnist.profile.html``, is put beside it.
        source: What ``WasmObject`` made - object, graph, parameters - then the wrapper's library.
        WASM_PLATFORM: Where the module runs. Default ``teaclave``.
        TARGET_FEATURES: The platform's optional features that the module uses. Default: none.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".profile.json")


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    targets = [target[0], target[0].dir.File(target[0].name.removesuffix(".json") + ".html")]
    env.AlwaysBuild(targets)
    env.NoCache(targets)
    return targets, source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    files = (node.path for node in source[:4])
    given = [
        word for pair in zip(("--object", "--graph", "--params", "--wrapper"), files, strict=True) for word in pair
    ]
    return step.Words(
        [
            *given,
            *("--platform", env.get("WASM_PLATFORM", "teaclave"), *step.target_features(env)),
            *("--report", target[0].path, "--page", target[1].path),
        ],
        ["--linker", json.dumps(workspace.of(env).toolchain.linker.command)],
    )
