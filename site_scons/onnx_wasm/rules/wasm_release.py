"""The rule WasmRelease."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.release import ARCHIVE_SUFFIX, lock
from onnx_wasm.rules import step, workspace

_PACKAGES = ("tvm", "onnx", "numpy", "safetensors", "scons", "wasmtime", "crates")
"""The tools that are no programs."""

_STEP = step.Step(
    "WasmRelease",
    "wasm_release",
    ("errors.py", "release", "actions/common.py", "actions/wasm_release.py"),
    ("python",),
    outside=True,  # the key that signs is the user's
)


def rule() -> Builder:
    """``env.WasmRelease(target, source)``: what a build made, as the folder and the archive that are handed out.

    It is made whenever it is asked for.

    Args:
        target: The archive, ``dist/mnist-1.0.0.tar.zst``. The folder ``dist/mnist-1.0.0`` is put beside it.
        source: All files that go into it, or that it tells of.
        RELEASE: What is released: the fields of ``release.assembly.Release`` but ``tools``, as plain data.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets)


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    folder = target[0].dir.Dir(target[0].name.removesuffix(ARCHIVE_SUFFIX))
    targets = [target[0], folder.File("SHA256SUMS")]
    env.AlwaysBuild(targets)
    env.Clean(targets, folder)
    return targets, source


def _arguments(target: Sequence[File], _source: Sequence[File], env: Environment) -> step.Words:
    used = [
        [tool.name, tool.version, tool.fingerprint, "" if tool.name in _PACKAGES else str(tool.path)]
        for tool in lock.in_use(workspace.of(env).toolchain)
    ]
    files = ["--folder", target[1].dir.path, "--archive", target[0].path]
    return step.Words([*files, "--release", json.dumps(env["RELEASE"], sort_keys=True)], ["--tools", json.dumps(used)])
