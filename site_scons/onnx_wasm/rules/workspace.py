"""What is one for a whole workspace: the toolchain, the models' names, and the last lines of a build."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from SCons.Environment import Base as Environment
from SCons.Node import Node, executed, up_to_date
from SCons.Script import COMMAND_LINE_TARGETS, AddOption, DefaultEnvironment, GetOption

from onnx_wasm import toolchain, workspace_file
from onnx_wasm.errors import BuildError
from onnx_wasm.file_facts import FileFacts
from onnx_wasm.manifest import Manifest
from onnx_wasm.rules import lock
from onnx_wasm.strategies import choice
from onnx_wasm.workspace_file import WorkspaceFile

if TYPE_CHECKING:
    from onnx_wasm.strategies.cache.cache import Cache

_STRATEGY = "onnx_wasm_strategy"
_WORKERS = "onnx_wasm_workers"
_VARIABLE = "ONNX_WASM_STRATEGY"
_DISK_CACHE, _REMOTE_CACHE, _CACHE_MODE = "onnx_wasm_disk_cache", "onnx_wasm_remote_cache", "onnx_wasm_cache_mode"
_REMOTE_EXECUTOR, _FALLBACK = "onnx_wasm_remote_executor", "onnx_wasm_remote_fallback"


class Workspace:
    """The state of one run of SCons: what ``env["ONNX_WASM"]`` holds, shared by all clones of an environment.

    ``targets`` are those that models are needed for; None for all that there may be. ``fixed_inputs`` are, by rule, the
    nodes that all steps of the rule depend on.

    Args:
        top: The folder that the workspace file is in, if there is one.
        build: The build folder.

    Raises:
        BuildError: The workspace file, or what is asked of strategies, is wrong.
    """

    def __init__(self, top: Path, build: Path) -> None:
        self.models: dict[str, Manifest] = {}
        self.modules: list[Node] = []
        self.fixed_inputs: dict[str, list[Node]] = {}
        self.targets: Sequence[str] | None = COMMAND_LINE_TARGETS or None
        self.settings = _with_options(workspace_file.load(top / workspace_file.NAME), top)
        name, where = _asked(self.settings)
        self.cache = _cache(self.settings, name)
        self.strategy = choice.chosen(name, where, self.settings, self._count_hit, _tell)
        self._build = build

    @cached_property
    def toolchain(self) -> toolchain.Toolchain:
        """The compilers in use, remembered under the build folder.

        Raises:
            BuildError: Some are missing; each with the command that installs it.
        """
        return toolchain.find(cache=self._build / "toolchain.json")

    @cached_property
    def manifest_facts(self) -> FileFacts:
        """What is remembered of manifests under the build folder."""
        facts = FileFacts(self._build / "manifests.json")
        atexit.register(facts.save)
        return facts

    def _count_hit(self) -> None:
        if self.cache:
            self.cache.count_hit()

    def report(self) -> None:
        """Names every module that this run built, or was asked for and found up to date, with its size and hash."""
        if GetOption("no_exec") or GetOption("clean"):
            return
        asked = any(target == "all" or target.endswith(".wasm") for target in COMMAND_LINE_TARGETS)
        reported = (executed, up_to_date) if asked else (executed,)
        for module in self.modules:
            if module.get_state() in reported and module.exists():
                data = Path(module.get_path()).read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                sys.stdout.write(f"{module.get_path()}  {len(data):,} bytes  sha256:{digest}\n")
        if self.cache:
            self.cache.finish()
            if self.cache.counts:
                sys.stdout.write(f"{self.cache.counts}\n")


def set_up(env: Environment) -> None:
    """Opens the workspace that an environment belongs to, and adds to SCons's command line what is chosen there."""
    _add_options()
    DefaultEnvironment()  # now: SCons lets the threads of a build make it, at once, and they break each other's
    top, build = (Path(env.Dir(folder).get_abspath()) for folder in ("#", "$ONNX_WASM_BUILD"))
    if not any(map(GetOption, ("help", "no_exec", "question"))):
        lock.hold(build)
    try:
        env["ONNX_WASM"] = Workspace(top, build)
        if cache := of(env).cache:
            from onnx_wasm.rules import cache_dir

            cache_dir.use(env, cache)
    except BuildError as error:
        end(env, error)


def end(env: Environment, error: BuildError) -> NoReturn:
    """Tells what is wrong and has SCons end with status 2."""
    sys.stderr.write(f"{error}\n")
    env.Exit(2)
    raise AssertionError from error  # Exit does not return


@functools.cache
def _add_options() -> None:
    names = ", ".join(workspace_file.STRATEGIES)
    AddOption("--strategy", dest=_STRATEGY, metavar="NAME", help=f"where actions run: {names}")
    fork = "0: every action imports TVM itself"
    AddOption("--workers", dest=_WORKERS, type="choice", choices=("0", "1"), metavar="N", help=fork)
    AddOption("--disk-cache", dest=_DISK_CACHE, metavar="FOLDER", help="keep results of actions in this folder")
    AddOption("--remote-cache", dest=_REMOTE_CACHE, metavar="ADDRESS", help="take results from this server")
    modes, fallbacks = workspace_file.CACHE_MODES, workspace_file.FALLBACKS
    use = f"how the server is used: {' or '.join(modes)}"
    AddOption("--remote-cache-mode", dest=_CACHE_MODE, type="choice", choices=modes, metavar="MODE", help=use)
    AddOption("--remote-executor", dest=_REMOTE_EXECUTOR, metavar="ADDRESS", help="run actions on this server")
    then = f"and if it fails: {' or '.join(fallbacks)}"
    AddOption("--remote-fallback", dest=_FALLBACK, type="choice", choices=fallbacks, metavar="WHERE", help=then)


def _with_options(settings: WorkspaceFile, top: Path) -> WorkspaceFile:
    """What the workspace file says, with what the command line says in its place."""
    build, remote, workers = settings.build, settings.remote, GetOption(_WORKERS)
    disk, certificates = GetOption(_DISK_CACHE) or build.disk_cache, remote.tls_certificates
    return replace(
        settings,
        build=replace(
            build,
            workers=build.workers if workers is None else int(workers),
            disk_cache=str(top / disk) if disk else None,
        ),
        remote=replace(
            remote,
            cache=GetOption(_REMOTE_CACHE) or remote.cache,
            cache_mode=GetOption(_CACHE_MODE) or remote.cache_mode,
            executor=GetOption(_REMOTE_EXECUTOR) or remote.executor,
            fallback=GetOption(_FALLBACK) or remote.fallback,
            tls_certificates=str(top / certificates) if certificates else None,
        ),
    )


def _asked(settings: WorkspaceFile) -> tuple[str, str]:
    """The strategy that is asked for, and by what. A release is made in a sandbox unless somebody says otherwise."""
    if GetOption(_STRATEGY) is not None:
        return GetOption(_STRATEGY), "--strategy"
    if os.environ.get(_VARIABLE):
        return os.environ[_VARIABLE], _VARIABLE
    released = _released()
    if released:
        return "sandbox", released
    return settings.build.strategy or ("remote" if settings.remote.executor else "local"), workspace_file.NAME


def _released() -> str:
    """The first target of the command line that makes a release; empty if there is none."""
    return next((target for target in COMMAND_LINE_TARGETS if target.endswith(".release")), "")


def _cache(settings: WorkspaceFile, strategy: str) -> Cache | None:
    """The cache that is asked for, if any is: where actions run elsewhere, results are kept here.

    A release takes from none.
    """
    asked = settings.build.disk_cache or settings.remote.cache or strategy == "remote"
    if _released() or not asked:
        return None
    from onnx_wasm.strategies.cache.choice import chosen  # here: it imports Python's HTTP and TLS

    disk = Path(settings.build.disk_cache) if settings.build.disk_cache else None
    return chosen(disk, settings.remote, _tell, os.environ)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def of(env: Environment) -> Workspace:
    """The workspace that an environment belongs to."""
    workspace: Workspace = env["ONNX_WASM"]
    return workspace
