"""Which strategies there are, and how one is chosen."""

from __future__ import annotations

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies import local, sandbox
from onnx_wasm.strategies.action import Strategy
from onnx_wasm.toml_tables import did_you_mean
from onnx_wasm.workspace_file import STRATEGIES


def chosen(name: str, where: str) -> Strategy:
    """The strategy of that name.

    Args:
        name: One of ``STRATEGIES``.
        where: What asks for it, for messages: ``--strategy``.

    Raises:
        BuildError: There is none of that name, or it lacks something on this machine.
    """
    match name:
        case "local":
            return local.Local()
        case "sandbox":
            return sandbox.Sandbox(where)
        case "remote":
            raise BuildError(Problem(where, f"the strategy {name} is not there yet", "use local"))
        case _:
            hint = did_you_mean(name, STRATEGIES) or f"the strategies are {', '.join(STRATEGIES)}"
            raise BuildError(Problem(where, f"there is no strategy {name}", hint))
