"""What the tiers of a cache have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from onnx_wasm.strategies.cache.action_result import ActionResult
from onnx_wasm.strategies.cache.digest import Digest


class Tier(Protocol):
    """One place that results are kept in. All methods may be called by several threads at once.

    They raise ``UnavailableError`` or ``OSError`` if the tier is of no use, ``DamagedError`` if only the entry is.
    """

    name: str
    """What messages call it: a folder or an address."""

    def lookup(self, key: str) -> ActionResult | None:
        """The result that is kept under a key of 64 hexadecimal digits."""

    def fetch(self, blobs: Mapping[Path, Digest]) -> bool:
        """Writes blobs to files and verifies them.

        Returns:
            Whether all of them were there.
        """

    def store(self, key: str, result: ActionResult, files: Mapping[Path, Digest]) -> None:
        """Keeps the blobs that files hold, and then the result that names them."""
