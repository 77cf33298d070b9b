"""Which strategies there are, and how one is chosen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.action import Strategy
from onnx_wasm.strategies.local import Local
from onnx_wasm.strategies.memory import Fitting
from onnx_wasm.strategies.workers import Workers
from onnx_wasm.toml_tables import did_you_mean
from onnx_wasm.workspace_file import STRATEGIES, Build, WorkspaceFile, in_bytes


def chosen(
    name: str, where: str, settings: WorkspaceFile, on_hit: Callable[[], None], tell: Callable[[str], None]
) -> Strategy:
    """The strategy of that name.

    Args:
        name: One of ``STRATEGIES``.
        where: What asks for it, for messages: ``--strategy``.
        settings: What the workspace file and the command line say.
        on_hit: Called when a server that runs actions had a result already.
        tell: Takes the lines that users are to see.

    Raises:
        BuildError: There is none of that name, or it lacks something on this machine.
    """
    match name:
        case "local":
            return _local(settings.build)
        case "sandbox":
            from onnx_wasm.strategies.sandbox import Sandbox

            return Fitting(Sandbox(where), _memory(settings.build))
        case "remote":
            if settings.remote.executor is None:
                hint = "--remote-executor=grpc://…, or executor in [remote] of workspace.toml, names one"
                raise BuildError(Problem(where, "there is no server that runs actions", hint))
            from onnx_wasm.strategies.remote import choice

            here = _local(settings.build)
            return choice.strategy(settings.remote.executor, settings.remote, here, on_hit, tell, os.environ)
        case _:
            hint = did_you_mean(name, STRATEGIES) or f"the strategies are {', '.join(STRATEGIES)}"
            raise BuildError(Problem(where, f"there is no strategy {name}", hint))


def _local(build: Build) -> Strategy:
    return Fitting(Workers() if build.workers and sys.platform == "linux" else Local(), _memory(build))


def _memory(build: Build) -> int | None:
    return None if build.jobs_memory is None else in_bytes(build.jobs_memory)
