"""The rule TeaclaveBundle."""

from __future__ import annotations

from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step

_STEP = step.Step(
    "TeaclaveBundle",
    "teaclave_bundle",
    (
        *("errors.py", "actions/common.py", "actions/teaclave_bundle.py"),
        *("bundle/README.md", "bundle/invoke.py"),
    ),
    ("python",),
    folder=True,
)


def rule() -> Builder:
    """``env.TeaclaveBundle(target, source)``: a module for Teaclave as a function, with a client that runs it there.

    Args:
        target: The bundle's ``function.json``, ``build/x/mnist.teaclave/function.json``. The payload, the client script
            ``invoke.py`` and ``README.md`` are put beside it.
        source: The module that ``WasmModel`` made for the platform ``teaclave``, then the interface of its library. The
            module's name is the function's. Then the file of its weights, if it does not hold them.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets)


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    params = [f"{_name(source)}.params" for _ in _params(source)]
    files = [target[0].dir.File(file) for file in (f"{_name(source)}.wasm", *params, "invoke.py", "README.md")]
    env.Clean(target, target[0].dir)
    return [target[0], *files], source


def _arguments(target: Sequence[File], source: Sequence[File], _env: Environment) -> step.Words:
    return step.Words(
        [
            *("--name", _name(source), "--module", source[0].path, "--interface", source[1].path),
            *(word for params in _params(source) for word in ("--params", params.path)),
            *("--folder", target[0].dir.path),
        ]
    )


def _params(source: Sequence[File]) -> Sequence[File]:
    """The file of the weights, if there is one."""
    return [file for file in source if file.name.endswith(".params")]


def _name(source: Sequence[File]) -> str:
    return str(source[0].name.removesuffix(".wasm"))
