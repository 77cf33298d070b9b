"""The cache of a build: its tiers, asked one after the other, and what is told of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onnx_wasm.errors import Problem
from onnx_wasm.strategies.cache.action_result import ActionResult, OutputFile
from onnx_wasm.strategies.cache.digest import of_file
from onnx_wasm.strategies.cache.errors import DamagedError, UnavailableError
from onnx_wasm.strategies.cache.outputs import place
from onnx_wasm.strategies.cache.tier import Tier
from onnx_wasm.strategies.cache.uploads import Uploads


@dataclass
class Counts:
    """How many actions were run, and how many results came from where."""

    built: int = 0
    local: int = 0
    remote: int = 0

    def __bool__(self) -> bool:
        return bool(self.built or self.local or self.remote)

    def __str__(self) -> str:
        return f"{self.built:,} built, {self.local:,} local, {self.remote:,} remote"


@dataclass
class _Kept:
    """A tier, and how it is used."""

    tier: Tier
    writable: bool
    usable: bool = True
    warned: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Cache:
    """Results of actions in a folder of this machine and on a server. Either may be absent.

    A tier that fails is told of once, then left alone; an entry that is damaged counts as not there, and is written
    anew where the build may.

    Args:
        local: The folder, which is always written.
        remote: The server.
        upload: Whether the server is written.
        tell: Takes the lines that users are to see.
    """

    def __init__(self, local: Tier | None, remote: Tier | None, upload: bool, tell: Callable[[str], None]) -> None:
        self.counts = Counts()
        self._local = _Kept(local, writable=True) if local else None
        self._remote = _Kept(remote, writable=upload) if remote else None
        self._uploads = Uploads()
        self._tell = tell
        self._counting = threading.Lock()

    def retrieve(self, key: str, outputs: Mapping[str, Path]) -> bool:
        """Brings the outputs of an action, all of them or none.

        Args:
            key: What names the action and all that it depends on: 64 hexadecimal digits.
            outputs: The files to write, by the paths that they have for every machine.

        Returns:
            Whether they were there.
        """
        if self._local and self._taken(self._local, key, outputs):
            self._count("local")
            return True
        if self._remote and (result := self._taken(self._remote, key, outputs)):
            self._count("remote")
            if self._local:
                self._keep(self._local, key, result, outputs)
            return True
        return False

    def count_built(self) -> None:
        """Notes that an action was run."""
        self._count("built")

    def count_hit(self) -> None:
        """Notes that an action that is about to count as run had its result on a server that runs actions."""
        with self._counting:
            self.counts.built -= 1
            self.counts.remote += 1

    def store(self, key: str, outputs: Mapping[str, Path]) -> None:
        """Keeps the outputs of an action.

        Args:
            key: As for ``retrieve``.
            outputs: As for ``retrieve``.
        """
        kept = [it for it in (self._local, self._remote) if it and it.usable and it.writable]
        if not kept:
            return
        try:
            files = (OutputFile(name, of_file(path), _executable(path)) for name, path in sorted(outputs.items()))
            result = ActionResult(tuple(files))
        except OSError:
            return  # whoever reads it next will tell
        for it in kept:
            if it is self._remote:
                self._uploads.submit(lambda it=it: self._keep(it, key, result, outputs))  # type: ignore[misc]
            else:
                self._keep(it, key, result, outputs)

    def finish(self) -> None:
        """Waits for uploads."""
        self._uploads.drain()

    def _taken(self, kept: _Kept, key: str, outputs: Mapping[str, Path]) -> ActionResult | None:
        if not kept.usable:
            return None
        with self._guarded(kept):
            result = kept.tier.lookup(key)
            if result is not None and place(kept.tier.fetch, result, outputs):
                return result
        return None

    def _keep(self, kept: _Kept, key: str, result: ActionResult, outputs: Mapping[str, Path]) -> None:
        if kept.usable:
            with self._guarded(kept):
                kept.tier.store(key, result, {outputs[it.path]: it.digest for it in result.files})

    @contextlib.contextmanager
    def _guarded(self, kept: _Kept) -> Iterator[None]:
        """Turns what goes wrong with a tier into a line for the user."""
        try:
            yield
        except DamagedError as error:
            with kept.lock:
                first, kept.warned = not kept.warned, True
            if first:
                self._tell(str(Problem(kept.tier.name, str(error), "what is damaged counts as not there")))
        except (UnavailableError, OSError) as error:
            with kept.lock:
                first, kept.usable = kept.usable, False
            if first:
                reason = str(error) if isinstance(error, UnavailableError) else error.strerror or str(error)
                hint = "this cache is left alone for the rest of the build"
                self._tell(str(Problem(kept.tier.name, reason, hint)))

    def _count(self, what: str) -> None:
        with self._counting:
            setattr(self.counts, what, getattr(self.counts, what) + 1)


def _executable(path: Path) -> bool:
    return bool(path.stat().st_mode & 0o100)
