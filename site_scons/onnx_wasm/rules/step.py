"""What all rules share: a step runs one action; its inputs are files, options, tools and the action's own sources."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shlex
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SCons.Action import CommandAction, CommandGeneratorAction
from SCons.Builder import Builder
from SCons.Environment import Base as Environment
from SCons.Errors import BuildError
from SCons.Executor import Executor
from SCons.Node import Node
from SCons.Node.FS import Base, File

from onnx_wasm import toolchain
from onnx_wasm.errors import LimitMissedError
from onnx_wasm.rules import workspace
from onnx_wasm.strategies import local
from onnx_wasm.strategies.action import Action

_PACKAGE = Path(__file__).parents[1]
_MOMENT = 1.0
"""The seconds that a file's two times may differ by though nobody set them."""

_LOCK = _PACKAGE.parents[1] / "requirements.lock"
"""In a checkout of this project: the versions of the Python packages that sconsw installs."""

_FOR_MESSAGES = ("manifest.py", "toml_lines.py", "toml_tables.py")
"""What every action reads of this package to find the line of a manifest that is to blame."""

_ENV = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/nonexistent",  # TVM would look for what it kept there
    "PYTHONHASHSEED": "0",
    "PYTHONSAFEPATH": "1",
    "OPENBLAS_NUM_THREADS": "1",  # sums that do not depend on how many processors there are
    "LC_ALL": "C.UTF-8",
    "TZ": "UTC",
}


@dataclass(frozen=True)
class Memory:
    """What an action is expected to need, by what was measured on models from mnist (25 KB) to ResNet-50 (102 MB).

    Args:
        base: Bytes, whatever the model.
        per_byte: Bytes for each byte of its source files.
    """

    base: int = 100_000_000
    per_byte: float = 1.0


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
        folder: Whether its targets are all that is in the folder of the first.
        memory: What it is expected to need.
    """

    rule: str
    action: str
    sources: tuple[str, ...]
    tools: tuple[str, ...]
    outside: bool = False
    folder: bool = False
    memory: Memory = Memory()


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

    def emit(target: list[File], source: list[File], env: Environment) -> tuple[list[Node], list[Node]]:
        targets, sources = emitter(target, source, env) if emitter else (target, source)
        for node in targets:
            node.add_dependency(_fixed_inputs(env, step))
            _distrust_if_altered(env, node)
        for node in sources:
            distrust_time(node)
        return targets, sources

    return Builder(action=_Rule(step, arguments), emitter=emit, ONNX_WASM_STEP=step, **options)


class _Rule(CommandGeneratorAction):  # type: ignore[misc] # SCons has no types
    """What a builder does: its signature is the text of the words that say what is made; run, it makes a ``_Run``.

    SCons itself would generate the command anew for each question below: a fifth of a build with nothing to do.
    """

    def __init__(self, step: Step, arguments: Arguments) -> None:
        super().__init__(self.run, {})
        self._step, self._arguments = step, arguments
        self._last: tuple[Node | None, str] = (None, "")

    def run(self, source: Sequence[File], target: Sequence[File], env: Environment, **_for_signature: bool) -> _Run:
        """Makes the command."""
        words = self._arguments(target, source, env)
        manifest = str(env.get("MANIFEST", ""))
        told = {} if _verbose() else {"cmdstr": f"{self._step.rule} $TARGET"}  # None would say nothing at all
        every = [*words.signed, *words.unsigned, *named("--manifest", manifest)]
        return _Run(self._step, every, manifest, **told)

    def genstring(
        self, target: Sequence[File], source: Sequence[File], env: Environment, executor: Executor | None = None
    ) -> str:
        """The words that are signed, as ``--debug=explain`` shows them."""
        del executor
        if self._last[0] is not target[0]:  # each target of a step asks in turn
            words = self._arguments(target, source, env).signed
            self._last = (target[0], shlex.join(["-m", f"onnx_wasm.actions.{self._step.action}", *words]))
        return self._last[1]

    get_presig = genstring

    def batch_key(self, *_: object) -> None:
        """Each step is run by itself."""

    def get_implicit_deps(self, *_: object, **_executor: object) -> list[Node]:
        """None: tools are named."""
        return []

    def get_varlist(self, *_: object, **_executor: object) -> tuple[()]:
        """None: the words are all."""
        return ()

    def get_targets(self, *_: object) -> str:
        """All of them."""
        return "$TARGETS"


class _Run(CommandAction):  # type: ignore[misc] # SCons has no types
    """What SCons executes: an action, by the strategy of its workspace, in a fixed environment and without a shell."""

    def __init__(self, step: Step, words: Sequence[str], manifest: str, **shown: str) -> None:
        super().__init__([sys.executable, "-m", f"onnx_wasm.actions.{step.action}", *words], **shown)
        self._step, self._words, self._manifest = step, tuple(words), manifest

    def process(self, *_args: object, **_kwargs: object) -> tuple[list[list[str]], bool, bool]:
        """The command as SCons prints it: the words as they are."""
        return [self.cmd_list], False, False

    def execute(
        self, target: list[File], source: list[File], env: Environment, executor: Executor | None = None
    ) -> object:
        """Runs the action.

        Returns:
            0, or SCons's error.
        """
        nodes = executor.get_all_targets() if executor else target
        read = [node for each in nodes for node in each.children(scan=False) if isinstance(node, Base)]
        its = self.action(env, nodes, [*source, *read])
        status = workspace.of(env).strategy.run(its)
        if status == LimitMissedError.status:
            sys.exit(status)  # SCons itself ends with 2, whatever the status of an action that failed
        how = f"Error {status}" if status >= 0 else signal.Signals(-status).name
        return BuildError(errstr=how, status=status, action=self, command=self.cmd_list) if status else 0

    def action(self, env: Environment, targets: Sequence[File], sources: Sequence[Base]) -> Action:
        """What there is to run, of these files to those."""
        step, top = self._step, Path(env.fs.Top.get_abspath())
        inputs = dict.fromkeys(node.rfile().path for node in sources)
        size = sum(Path(path).stat().st_size for path in inputs if Path(path).is_file())
        own = _PACKAGE.relative_to(top) if _PACKAGE.is_relative_to(top) else _PACKAGE
        fixed = _ENV | {"PYTHONPATH": str(own.parent)}
        return Action(
            rule=step.rule,
            module=f"onnx_wasm.actions.{step.action}",
            arguments=self._words,
            inputs=(*inputs, *(str(own / file) for file in _files(step.sources))),
            consulted=(*([self._manifest] if self._manifest else []), *(str(own / file) for file in _FOR_MESSAGES)),
            tools=_roots(env, step),
            toolchain=tuple(tool.fingerprint for tool in _tools(env, step)),
            outputs=tuple(node.path for node in targets),
            folder=targets[0].dir.path if step.folder else "",
            environment=_with_users_own(fixed) if step.outside else fixed,
            memory=int(step.memory.base + step.memory.per_byte * size),
            imports_tvm="tvm" in step.tools,
            outside=step.outside,
        )


def action_of(node: Node) -> Action | None:
    """The action that makes a file; None if no rule of ours does."""
    rule = node.builder.action if node.has_builder() else None
    if not isinstance(rule, _Rule):
        return None
    executor = node.get_executor()
    env, targets, sources = executor.get_build_env(), executor.get_all_targets(), executor.get_all_sources()
    return rule.run(sources, targets, env).action(env, targets, [it for it in node.children() if isinstance(it, Base)])


def beside(target: File, suffix: str) -> File:
    """A file in the target's folder whose name is the target's with another suffix; a model's name may have dots."""
    return target.dir.File(re.sub(r"(\.ir\.json|\.[^.]*)$", "", target.name) + suffix)


def named(option: str, *values: str) -> list[str]:
    """The words of an option, none of them if its first value is empty."""
    return [option, *values] if values[0] else []


def start(words: Sequence[str]) -> int:
    """Runs a program of ours in the environment that every action sees, and gives its exit status."""
    return local.start(words, _ENV | {"PYTHONPATH": str(_PACKAGE.parent)})


def _with_users_own(fixed: Mapping[str, str]) -> dict[str, str]:
    users = {key: it for key, it in os.environ.items() if not key.startswith("PYTHON")}
    own = ("PATH", "HOME")
    return {**users, **fixed, **{key: users[key] for key in own if key in users}}


def target_features(env: Environment) -> list[str]:
    """The words that tell an action which optional features of the platform to use."""
    return [word for feature in env.get("TARGET_FEATURES", ()) for word in ("--target-feature", feature)]


def _verbose() -> bool:
    return os.environ.get("ONNX_WASM_VERBOSE", "") not in ("", "0")


def _fixed_inputs(env: Environment, step: Step) -> list[Node]:
    """What all steps of a kind depend on: the tools, and the action's own sources."""
    known = workspace.of(env).fixed_inputs
    if step.rule not in known:
        known[step.rule] = [*_tool_values(env, step), _source_value(env, step)]
    return known[step.rule]


def _tool_values(env: Environment, step: Step) -> list[Node]:
    # Without a name of their own: `--debug=explain` takes a Value that has one for new in every run.
    values = {tool.name: env.Value(tool.fingerprint) for tool in _tools(env, step)}
    for name in values.keys() & toolchain.PACKAGES:
        values[name].attributes.files = (str(_LOCK),) if _LOCK.exists() else ()
    return list(values.values())


def _tools(env: Environment, step: Step) -> list[toolchain.Tool]:
    found = (getattr(workspace.of(env).toolchain, name) for name in step.tools)
    return [tool for tool in found if tool is not None]


def _source_value(env: Environment, step: Step) -> Node:
    value = env.Value(f"onnx_wasm sources of {step.rule} {_digest(step.sources)}")
    value.attributes.files = tuple(str(_PACKAGE / file) for file in _files(step.sources))
    return value


def _roots(env: Environment, step: Step) -> tuple[str, ...]:
    """What of the file system a step's tools are."""
    tools = (getattr(workspace.of(env).toolchain, name) for name in ("python", *step.tools))
    return tuple(dict.fromkeys(str(root) for tool in tools if tool is not None for root in tool.roots()))


@functools.cache
def _files(sources: tuple[str, ...]) -> tuple[str, ...]:
    """The files that a step declares of this package, relative to it, with what makes packages of their folders."""
    found: dict[Path, None] = {}
    for source in sources:
        path = _PACKAGE / source
        files = sorted(it for it in path.rglob("*.*") if it.suffix != ".pyc") if path.is_dir() else [path]
        packages = [_PACKAGE / parent / "__init__.py" for parent in reversed(Path(source).parents)]
        found |= dict.fromkeys([*(it for it in packages if it.exists()), *files])
    return tuple(str(file.relative_to(_PACKAGE)) for file in found)


@functools.cache
def _digest(sources: tuple[str, ...]) -> str:
    digest = hashlib.sha256()
    for file in _files(sources):
        digest.update(f"{file}\n".encode())
        digest.update(hashlib.sha256((_PACKAGE / file).read_bytes()).digest())
    return digest.hexdigest()


def distrust_time(source: Node) -> None:
    """Has SCons read a source again whose time was set, not given by a change.

    SCons takes a source that has the time of the last build, days ago, for the same without a look at it. But a copy,
    or a file out of an archive, may have any time. Its ``ctime`` tells when it was really written.
    """
    there = None if source.has_builder() else source.stat()
    if there is not None and there.st_ctime - there.st_mtime > _MOMENT:
        source.get_stored_info().ninfo = source.new_ninfo()


def _distrust_if_altered(env: Environment, node: Node) -> None:
    """Builds a target again if it is not the file that SCons made.

    SCons compares a target's inputs with those of its last build, never the target itself; a build that was killed
    after it wrote a target, but before SCons noted it, would otherwise leave one behind that belongs to other inputs.
    """
    noted = node.get_stored_info().ninfo
    if not hasattr(noted, "timestamp"):
        return
    there = node.stat()
    if there is not None and (int(there.st_mtime) != noted.timestamp or there.st_size != noted.size):
        env.AlwaysBuild(node)
