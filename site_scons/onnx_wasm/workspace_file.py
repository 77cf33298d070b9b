"""The workspace file: ``workspace.toml``, which says how this checkout builds. It decides nothing about what is built.

The docstrings here are the reference: each of ``Args`` is a key, with its type and default in parentheses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onnx_wasm.toml_tables import Choice, Finding, Integer, Mapping, Table, Text, failure, parse

if TYPE_CHECKING:
    from pathlib import Path

NAME = "workspace.toml"
STRATEGIES = ("local", "sandbox", "remote")
CACHE_MODES = ("readonly", "readwrite")
FALLBACKS = ("none", "local")

_UNITS = {"MB": 1000**2, "GB": 1000**3}
_SIZE = Text('a size in MB or GB, such as "800 MB" or "4 GB"', r"[1-9][0-9]{0,5} ?(MB|GB)", longest=9)


@dataclass(frozen=True, kw_only=True)
class Build:
    """``[build]``: where actions run, and how many at once.

    Args:
        strategy ("local", "sandbox" or "remote", "remote" if an executor is named; else "local"): Where actions run,
            unless the command line or ``ONNX_WASM_STRATEGY`` says something else.
        workers (0 or 1, 1): Whether actions that need TVM are children of a process that has imported it.
        jobs_memory (size, what is free): The memory that all actions together may need at once, as ``"4 GB"``.
        disk_cache (path, one of the user's if a server is named): The folder that results are kept in, from the
            workspace file.
    """

    strategy: str | None = field(default=None, metadata={"kind": Choice(STRATEGIES)})
    workers: int = field(default=1, metadata={"kind": Integer(0, 1)})
    jobs_memory: str | None = field(default=None, metadata={"kind": _SIZE})
    disk_cache: str | None = field(default=None, metadata={"kind": Text()})


@dataclass(frozen=True, kw_only=True)
class Remote:
    """``[remote]``: servers that machines share.

    Args:
        cache (address, none): A server that keeps results: ``"http://cache.example.org:8080"`` for one that speaks
            Bazel's caching protocol over HTTP, ``"grpc://…"`` or ``"grpcs://…"`` for the Remote Execution API.
        cache_mode ("readonly" or "readwrite", "readonly"): Whether results of this build are put there too.
        executor (address, none): A server of the Remote Execution API that runs actions, as
            ``"grpcs://farm.example.org"``.
        instance (text, ""): The instance on servers of that API.
        platform (table of texts, {}): The properties that the executor's machines must have, as
            ``{ container-image = "docker://…" }``.
        python (path, this machine's): The interpreter on the executor's machines.
        timeout (1 to 86400, 900): Seconds that an action may take there, and as many that it may wait.
        fallback ("none" or "local", "none"): Where actions run once the executor has failed.
        tls_certificates (path, the system's): A file of certificates, in the form of PEM, that servers are trusted by.
    """

    cache: str | None = field(default=None, metadata={"kind": Text()})
    cache_mode: str = field(default="readonly", metadata={"kind": Choice(CACHE_MODES)})
    executor: str | None = field(default=None, metadata={"kind": Text()})
    instance: str = field(default="", metadata={"kind": Text("a string", r"[^\u0000]*")})
    platform: dict[str, str] = field(
        default_factory=dict, metadata={"kind": Mapping(Text(), Text("a string", r"[^\u0000]*"))}
    )
    python: str | None = field(default=None, metadata={"kind": Text()})
    timeout: int = field(default=900, metadata={"kind": Integer(1, 86400)})
    fallback: str = field(default="none", metadata={"kind": Choice(FALLBACKS)})
    tls_certificates: str | None = field(default=None, metadata={"kind": Text()})


@dataclass(frozen=True, kw_only=True)
class WorkspaceFile:
    """The whole file. Every key may be left out, and so may the file.

    Args:
        build (table, {}): ``[build]``.
        remote (table, {}): ``[remote]``.
    """

    build: Build = field(default=Build(), metadata={"kind": Table(Build)})
    remote: Remote = field(default_factory=Remote, metadata={"kind": Table(Remote)})


def load(path: Path) -> WorkspaceFile:
    """Reads a workspace file; one that is not there says nothing.

    Raises:
        BuildError: It cannot be read, is not TOML, or says what it cannot say; with every line.
    """
    if not path.exists():
        return WorkspaceFile()
    text, table = parse(path)
    found: list[Finding] = []
    values = Table(WorkspaceFile).values(table, (), found)
    if found:
        raise failure(path, text, found)
    return WorkspaceFile(**values)


def in_bytes(size: str) -> int:
    """The number of bytes of a size such as ``4 GB``."""
    number, unit = re.fullmatch(r"(\d+) ?(\w+)", size).groups()  # type: ignore[union-attr] # _SIZE has let it through
    return int(number) * _UNITS[unit]
