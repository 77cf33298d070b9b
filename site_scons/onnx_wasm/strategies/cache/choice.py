"""Which cache is used, if any."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.strategies.cache.cache import Cache
from onnx_wasm.strategies.cache.credentials import authorization
from onnx_wasm.strategies.cache.disk import DiskTier
from onnx_wasm.strategies.cache.http_tier import HttpTier, parse
from onnx_wasm.toml_tables import did_you_mean
from onnx_wasm.user_folder import user_folder
from onnx_wasm.workspace_file import CACHE_MODES


@dataclass(frozen=True)
class Wanted:
    """What is asked of caches.

    Args:
        disk: The folder on this machine; None for that of the user, which is used if there is a server.
        remote: The server's address; None for no server.
        mode: Whether results are only read from the server, or also written: one of ``CACHE_MODES``.
        certificates: The file of certificates that the server is trusted by; None for the system's.
    """

    disk: Path | None
    remote: str | None
    mode: str
    certificates: Path | None = None


def chosen(wanted: Wanted, environ: Mapping[str, str]) -> Cache:
    """The cache that is asked for.

    Args:
        wanted: What is asked.
        environ: The environment, for credentials and the user's folder.

    Raises:
        BuildError: It cannot be had.
    """
    if wanted.mode not in CACHE_MODES:
        hint = did_you_mean(wanted.mode, CACHE_MODES) or f"the modes are {', '.join(CACHE_MODES)}"
        raise BuildError(Problem("--remote-cache-mode", f"there is no mode {wanted.mode}", hint))
    local = DiskTier(wanted.disk or user_folder(environ) / "results")
    if wanted.remote is None:
        return Cache(local, None, upload=False, tell=_tell)
    host = parse(wanted.remote).hostname
    remote = HttpTier(wanted.remote, authorization(str(host), environ), wanted.certificates)
    return Cache(local, remote, upload=wanted.mode == "readwrite", tell=_tell)


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
