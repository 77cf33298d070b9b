"""The rule WasmSize."""

from __future__ import annotations

from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step

_STEP = step.Step(
    "WasmSize",
    "size",
    (
        *("columns.py", "errors.py", "platforms.py", "sizes.py", "symbols.py", "wasm.py"),
        *("actions/common.py", "actions/size.py"),
    ),
    ("python",),
    memory=step.Memory(60_000_000, 2),
)


def rule() -> Builder:
    """``env.WasmSize(target, source)``: what each byte of a finished module is for, to the last.

    The table is printed whenever it is asked for.

    Args:
        target: The report, ``build/x/mnist.size.json``.
        source: The module and the names of its functions, then its weights, as ``WasmObject`` made them, if it holds
            them.
        WASM_PLATFORM: Where the module runs. Default ``teaclave``.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".size.json")


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    env.AlwaysBuild(target)
    env.NoCache(target)
    return target, source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    weights = [word for file in source[2:] for word in ("--weights", file.path)]
    return step.Words(
        [
            *("--module", source[0].path, "--symbols", source[1].path, *weights),
            *("--platform", env.get("WASM_PLATFORM", "teaclave"), "--report", target[0].path),
        ]
    )
