"""Which strategies there are, and how one is chosen."""

from __future__ import annotations

import sys

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.action import Strategy
from onnx_wasm.strategies.local import Local
from onnx_wasm.strategies.memory import Fitting
from onnx_wasm.strategies.workers import Workers
from onnx_wasm.toml_tables import did_you_mean
from onnx_wasm.workspace_file import STRATEGIES


def chosen(name: str, where: str, workers: int, memory: int | None) -> Strategy:
    """The strategy of that name.

    Args:
        name: One of ``STRATEGIES``.
        where: What asks for it, for messages: ``--strategy``.
        workers: 0 if no process is to be kept that others are forked from.
        memory: What all actions on this machine may need at once, in bytes; None for what is free.

    Raises:
        BuildError: There is none of that name, or it lacks something on this machine.
    """
    match name:
        case "local":
            return Fitting(Workers() if workers and sys.platform == "linux" else Local(), memory)
        case "sandbox":
            from onnx_wasm.strategies.sandbox import Sandbox

            return Fitting(Sandbox(where), memory)
        case "remote":
            raise BuildError(Problem(where, f"the strategy {name} is not there yet", "use local"))
        case _:
            hint = did_you_mean(name, STRATEGIES) or f"the strategies are {', '.join(STRATEGIES)}"
            raise BuildError(Problem(where, f"there is no strategy {name}", hint))
