"""What is one for a whole workspace: the toolchain, the models' names, and the last lines of a build."""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from SCons.Environment import Base as Environment
from SCons.Node import Node, executed, up_to_date
from SCons.Script import COMMAND_LINE_TARGETS, AddOption, GetOption

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
        self.settings = workspace_file.load(top / workspace_file.NAME)
        its, workers = self.settings.build, GetOption(_WORKERS)
        self.strategy = choice.chosen(
            *_asked(self.settings),
            its.workers if workers is None else int(workers),
            None if its.jobs_memory is None else workspace_file.in_bytes(its.jobs_memory),
        )
        self.cache = _cache(top, self.settings)
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
    modes = " or ".join(workspace_file.CACHE_MODES)
    AddOption("--remote-cache-mode", dest=_CACHE_MODE, metavar="MODE", help=f"how the server is used: {modes}")


def _asked(settings: WorkspaceFile) -> tuple[str, str]:
    """The strategy that is asked for, and by what. A release is made in a sandbox unless somebody says otherwise."""
    if GetOption(_STRATEGY) is not None:
        return GetOption(_STRATEGY), "--strategy"
    if os.environ.get(_VARIABLE):
        return os.environ[_VARIABLE], _VARIABLE
    released = _released()
    return ("sandbox", released) if released else (settings.build.strategy, workspace_file.NAME)


def _released() -> str:
    """The first target of the command line that makes a release; empty if there is none."""
    return next((target for target in COMMAND_LINE_TARGETS if target.endswith(".release")), "")


def _cache(top: Path, settings: WorkspaceFile) -> Cache | None:
    """The cache that the command line or the workspace file asks for, if either does. A release takes from none."""
    if _released():
        return None
    disk = GetOption(_DISK_CACHE) or settings.build.disk_cache
    address = GetOption(_REMOTE_CACHE) or settings.remote.cache
    if not disk and not address:
        return None
    from onnx_wasm.strategies.cache.choice import Wanted, chosen  # here: it imports Python's HTTP and TLS

    certificates = settings.remote.tls_certificates
    wanted = Wanted(
        disk=top / disk if disk else None,
        remote=address,
        mode=GetOption(_CACHE_MODE) or settings.remote.cache_mode,
        certificates=top / certificates if certificates else None,
    )
    return chosen(wanted, os.environ)


def of(env: Environment) -> Workspace:
    """The workspace that an environment belongs to."""
    workspace: Workspace = env["ONNX_WASM"]
    return workspace
