"""The rule WebPackage."""

from __future__ import annotations

from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm import WRAPPER
from onnx_wasm.rules import step

_TEMPLATES = (
    *("web/README.md", "web/glue.d.ts", "web/glue.js", "web/index.html"),
    *("web/demo/demo.css", "web/demo/demo.js", "web/demo/dom.js", "web/demo/field.js"),
    *("web/demo/pad.js", "web/demo/scores.js", "web/demo/tensors.js"),
)
_STEP = step.Step(
    "WebPackage",
    "web_package",
    (
        *("errors.py", "status.py", "actions/common.py", "actions/web_package.py"),
        *("web/params.d.ts", "web/params.md", "web/relaxed-simd.js", "web/relaxed-simd.md", *_TEMPLATES),
    ),
    ("python",),
    folder=True,
)


def rule() -> Builder:
    """``env.WebPackage(target, source)``: a module for the web as a folder for JavaScript, npm and a browser.

    Args:
        target: The folder's ``package.json``, ``build/x/mnist.web/package.json``. The module, the ES module around it
            with its types, ``README.md`` and a page to try the model are put beside it.
        source: The module that ``WasmModule`` made for the platform ``web``, then the interface of its library. The
            module's name is the model's. Then the file of its weights, if it does not hold them, and the module that
            uses relaxed SIMD, if there is one.
        LICENSE: The model's licence, by its name in SPDX. Default: none is told.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets)


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    name = _name(source)
    texts = [text.removeprefix("web/").replace("glue.", f"{name}.") for text in _TEMPLATES]
    binaries = [file.name for file in (source[0], *_params(source), *_relaxed(source))]
    files = [target[0].dir.File(file) for file in (*binaries, *texts)]
    statuses = env.File(str(WRAPPER / "src" / "status.rs"))
    env.Clean(target, target[0].dir)
    return [target[0], *files], [*source, statuses]


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:
    return step.Words(
        [
            *("--name", _name(source), "--license", env.get("LICENSE", "")),
            *("--module", source[0].path, "--interface", source[1].path),
            *(word for params in _params(source) for word in ("--params", params.path)),
            *(word for module in _relaxed(source) for word in ("--relaxed-simd", module.path)),
            *("--folder", target[0].dir.path),
        ]
    )


def _params(source: Sequence[File]) -> Sequence[File]:
    """The file of the weights, if there is one."""
    return [file for file in source if file.name.endswith(".params")]


def _relaxed(source: Sequence[File]) -> Sequence[File]:
    """The module that uses relaxed SIMD, if there is one."""
    return [file for file in source[1:] if file.name.endswith(".wasm")]


def _name(source: Sequence[File]) -> str:
    return str(source[0].name.removesuffix(".wasm"))
