"""What all rules share: a step runs one action; its inputs are files, options, tools and the action's own sources."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SCons.Action import Action
from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File
from SCons.Subst import Literal

from onnx_wasm.rules import workspace

_PACKAGE = Path(__file__).parents[1]
_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "PYTHONPATH": str(_PACKAGE.parent),
    "PYTHONHASHSEED": "0",
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Step:
    """One kind of step.

    Args:
        rule: The rule's name, ``TvmIr``.
        action: The action's module, ``tvm_ir``.
        sources: The files and folders of this package that the action reads, relative to it.
        tools: The tools it uses, by the names of ``toolchain.Toolchain``'s fields.
        outside: Whether it reaches out of the build: then it sees the user's environment, which has proxies,
            certificates and the settings of other programs.
    """

    rule: str
    action: str
    sources: tuple[str, ...]
    tools: tuple[str, ...]
    outside: bool = False


@dataclass(frozen=True)
class Words:
    """The words of an action's command line.

    Args:
        signed: Those that say what is made: another word runs the step again.
        unsigned: Those that only say where or with which tool: paths of this machine, labels for messages.
    """

    signed: Sequence[str]
    unsigned: Sequence[str] = ()


Arguments = Callable[[Sequence[File], Sequence[File], Environment], Words]
Emitter = Callable[[list[File], list[File], Environment], tuple[list[Node], list[Node]]]


def builder(step: Step, arguments: Arguments, emitter: Emitter | None = None, **options: Any) -> Builder:
    """Makes a rule's builder.

    Args:
        step: What it runs.
        arguments: From targets, sources and environment to the action's words.
        emitter: The rule's own, which names its targets.
        options: More for SCons's ``Builder``.
    """

    def command(
        source: Sequence[File], target: Sequence[File], env: Environment, for_signature: bool
    ) -> list[list[Literal]]:
        words = arguments(target, source, env)
        signed = ["-m", f"onnx_wasm.actions.{step.action}", *words.signed]
        if for_signature:
            return [_literally(signed)]
        manifest = env.get("MANIFEST", "")
        place = ["--manifest", str(manifest)] if manifest else []
        return [_literally([sys.executable, *signed, *words.unsigned, *place])]

    def emit(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
        targets, sources = emitter(target, source, env) if emitter else (target, source)
        env.Depends(targets, [*_tool_values(env, step), _source_value(env, step)])
        for node in targets:
            _distrust_if_altered(env, node)
        return targets, sources

    # Whatever the environment's own ENV and SPAWN are: an action sees a fixed environment and no shell.
    return Builder(
        action=Action(command, f"{step.rule} $TARGET" if not _verbose() else None, generator=True),
        emitter=emit,
        SPAWN=_spawn_outside if step.outside else _spawn,
        ESCAPE=str,
        **options,
    )


def beside(target: File, suffix: str) -> File:
    """A file in the target's folder whose name is the target's with another suffix; a model's name may have dots."""
    return target.dir.File(re.sub(r"(\.ir\.json|\.[^.]*)$", "", target.name) + suffix)


def named(option: str, *values: str) -> list[str]:
    """The words of an option, none of them if its first value is empty."""
    return [option, *values] if values[0] else []


def _literally(words: Sequence[str]) -> list[Literal]:
    """Words as they are: SCons neither expands nor quotes them."""
    return [Literal(word) for word in words]


def start(words: Sequence[str], around: Mapping[str, str] = {}) -> int:
    """Runs a program without a shell and gives its exit status.

    Args:
        words: Its command line.
        around: More variables for the environment that every action sees.
    """
    environ = {**_ENV, **around, "ONNX_WASM_PARENT": str(os.getpid())}
    return subprocess.run([str(word) for word in words], env=environ, check=False).returncode


def _spawn(_shell: str, _escape: object, _name: str, words: Sequence[str], _env: Mapping[str, str]) -> int:
    return start(words)


def _spawn_outside(_shell: str, _escape: object, _name: str, words: Sequence[str], _env: Mapping[str, str]) -> int:
    fixed = _ENV.keys() - {"PATH"}
    return start(
        words, {key: it for key, it in os.environ.items() if key not in fixed and not key.startswith("PYTHON")}
    )


def _verbose() -> bool:
    return os.environ.get("ONNX_WASM_VERBOSE", "") not in ("", "0")


def _tool_values(env: Environment, step: Step) -> list[Node]:
    # Without a name of their own: `--debug=explain` takes a Value that has one for new in every run.
    found = (getattr(workspace.of(env).toolchain, name) for name in step.tools)
    return [env.Value(tool.fingerprint) for tool in found if tool is not None]


def _source_value(env: Environment, step: Step) -> Node:
    return env.Value(f"onnx_wasm sources of {step.rule} {_digest(step.sources)}")


@functools.cache
def _digest(sources: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        path = _PACKAGE / source
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(_PACKAGE)}\n".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _distrust_if_altered(env: Environment, node: Node) -> None:
    """Builds a target again if it is not the file that SCons made.

    SCons compares a target's inputs with those of its last build, never the target itself; a build that was killed
    after it wrote a target, but before SCons noted it, would otherwise leave one behind that belongs to other inputs.
    """
    noted = node.get_stored_info().ninfo
    if not hasattr(noted, "timestamp"):
        return
    try:
        there = Path(node.get_abspath()).stat()
    except OSError:
        return
    if int(there.st_mtime) != noted.timestamp or there.st_size != noted.size:
        env.AlwaysBuild(node)
