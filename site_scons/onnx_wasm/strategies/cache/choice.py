"""Which cache is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from onnx_wasm.strategies.cache.cache import Cache
from onnx_wasm.strategies.cache.credentials import authorization
from onnx_wasm.strategies.cache.disk import DiskTier
from onnx_wasm.strategies.cache.http_tier import HttpTier, parse
from onnx_wasm.strategies.cache.tier import Tier
from onnx_wasm.user_folder import user_folder
from onnx_wasm.workspace_file import Remote


def chosen(disk: Path | None, remote: Remote, tell: Callable[[str], None], environ: Mapping[str, str]) -> Cache:
    """The cache that is asked for: one on this machine, and one on a server if any is named.

    Args:
        disk: The folder on this machine; None for that of the user.
        remote: What is said of servers.
        tell: Takes the lines that users are to see.
        environ: The environment, for credentials and the user's folder.

    Raises:
        BuildError: It cannot be had.
    """
    local = DiskTier(disk or user_folder(environ) / "results")
    server = _server(remote.cache, remote, environ) if remote.cache else None
    return Cache(local, server, upload=remote.cache_mode == "readwrite", tell=tell)


def _server(address: str, remote: Remote, environ: Mapping[str, str]) -> Tier:
    if address.startswith(("grpc:", "grpcs:")):
        from onnx_wasm.strategies.remote import choice  # here: it imports gRPC

        return choice.tier(address, remote, environ)
    certificates = Path(remote.tls_certificates) if remote.tls_certificates else None
    return HttpTier(address, authorization(str(parse(address).hostname), environ), certificates)
