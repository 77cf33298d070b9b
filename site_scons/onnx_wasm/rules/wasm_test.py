"""The rule WasmTest."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step

_STEP = step.Step(
    "WasmTest",
    "run_tests",
    (
        *("errors.py", "platforms.py", "status.py", "wasm.py", "hosts"),
        *("actions/common.py", "actions/run_tests.py"),
    ),
    ("python", "wasmtime", "numpy"),
)


def rule() -> Builder:
    """``env.WasmTest(target, source)``: runs a manifest's tests on the finished module, in its platform's host.

    Args:
        target: The report, ``build/x/mnist.test.json``, there only if every test passed.
        source: The module, then every file that the tests read; with PARAMS_ARGUMENT, the file of the weights between.
        TESTS: The manifest's ``[[test]]``, as ``dataclasses.asdict`` gives them, each with its ``index`` among them.
        PARAMS_ARGUMENT: The argument that names the file of the weights. Default: the module holds them.
        DIRECTORY: The folder that the tests' paths start from.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _sources, suffix=".test.json")


def _sources(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    return target, [*source, env.File(str(WRAPPER / "src" / "status.rs"))]  # for what the module's errors mean


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    tests = json.dumps(list(env["TESTS"]), sort_keys=True)
    files = ["--module", source[0].path, "--directory", str(env["DIRECTORY"]), "--stamp", target[0].path]
    params = step.named("--params", env.get("PARAMS_ARGUMENT", ""), *(it.path for it in source[1:2]))
    return step.Words([*files, *params, "--tests", tests])
