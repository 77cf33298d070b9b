"""``toolchain.lock``: the exact tools that releases are built with. Standard library: the rules ask here too.

One line for each tool, its name and its fingerprint (``toolchain.Tool.fingerprint``), in the order of ``Toolchain``.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from onnx_wasm.errors import Problem
from onnx_wasm.toolchain import Tool, Toolchain

NAME = "toolchain.lock"
_HEAD = "# The tools that releases are built with. ./sconsw toolchain.lock writes this file from those in use.\n"


def text(tools: Toolchain) -> str:
    """The lock file for the tools in use."""
    return _HEAD + "".join(f"{tool.name}: {tool.fingerprint}\n" for tool in in_use(tools))


def in_use(tools: Toolchain) -> list[Tool]:
    """Every tool of a toolchain that is there."""
    values = (getattr(tools, field.name) for field in dataclasses.fields(tools))
    return [tool for tool in values if tool is not None]


def problems(path: Path, tools: Toolchain) -> list[Problem]:
    """Everything in which the tools in use are not those that a lock file pins.

    Args:
        path: The lock file.
        tools: Those in use.
    """
    try:
        locked = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return [Problem(str(path), "there is no such lock file: the toolchain is not pinned", _hint(path))]
    lines = [(at, *line.partition(": ")[::2]) for at, line in enumerate(locked.splitlines(), 1) if line[:1] != "#"]
    pinned = {name: (at, fingerprint) for at, name, fingerprint in lines}
    used = {tool.name: tool.fingerprint for tool in in_use(tools)}
    found: list[Problem] = []
    for name in dict.fromkeys([*pinned, *used]):
        at, fingerprint = pinned.get(name, (1, ""))
        if fingerprint != used.get(name, ""):
            message = f"{name} is {used.get(name) or 'missing'}; pinned is {fingerprint or 'nothing'}"
            found.append(Problem(f"{path}:{at}", message, "" if found else _hint(path)))
    return found


def _hint(path: Path) -> str:
    return f"use the tools that are pinned, or pin those in use: ./sconsw {NAME}, then commit {path.name}"
