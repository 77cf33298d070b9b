"""What is made of a server of the Remote Execution API, if one is asked for.

Nothing here imports gRPC before it is; it is one of the packages that not every set-up has.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.action import Strategy
from onnx_wasm.strategies.cache.tier import Tier
from onnx_wasm.workspace_file import Remote

_PACKAGES = ("grpc", "buildgrid", "zstandard")


def tier(address: str, remote: Remote, environ: Mapping[str, str]) -> Tier:
    """A server as a tier of the cache.

    Args:
        address: Its address.
        remote: What else is said of servers.
        environ: The environment, for credentials.

    Raises:
        BuildError: It cannot be used.
    """
    option = "--remote-cache"
    _demand(option)
    from onnx_wasm.strategies.remote.server import Server
    from onnx_wasm.strategies.remote.tier import GrpcTier

    return GrpcTier(Server(address, option, remote, environ))


def strategy(
    address: str,
    remote: Remote,
    here: Strategy,
    on_hit: Callable[[], None],
    tell: Callable[[str], None],
    environ: Mapping[str, str],
) -> Strategy:
    """The strategy ``remote``. To be called in the main thread.

    Args:
        address: The address of a server that runs actions.
        remote: What else is said of servers.
        here: Runs what cannot run there.
        on_hit: Called when a result was there already.
        tell: Takes the lines that users are to see.
        environ: The environment, for credentials.

    Raises:
        BuildError: The server cannot be used.
    """
    option = "--remote-executor"
    _demand(option)
    from onnx_wasm.strategies.remote import interrupts
    from onnx_wasm.strategies.remote.server import Server
    from onnx_wasm.strategies.remote.strategy import Farm

    runs = Farm(Server(address, option, remote, environ), remote, here, on_hit, tell)
    interrupts.watch(runs.interrupt)
    return runs


def _demand(option: str) -> None:
    """Refuses to go on without the packages that speak the API's language."""
    lacking = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        hint = "./sconsw setup full, or in another repository: pip install 'onnx-wasm[remote]'"
        raise BuildError(Problem(option, f"the Python packages for it are missing: {', '.join(lacking)}", hint))
