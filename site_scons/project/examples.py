"""The models under ``examples/``: declared when somebody names one, so that they cost no other build anything."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("examples")


def manifests() -> list[Path]:
    """The manifest of each, from the top of the checkout; it is called as its model is."""
    return sorted(FOLDER.glob("*/*.toml"))


def asked(targets: Sequence[str], everything: bool = False) -> list[str]:
    """The manifests of those that the command line names.

    Args:
        targets: Its targets: ``minilm.wasm``, ``minilm.web.wasm``, ``build/web/minilm/minilm.o``.
        everything: Whether all are wanted.
    """
    words = [part for target in targets for part in target.split("/")]
    return [str(path) for path in manifests() if everything or any(_begins(word, path.stem) for word in words)]


def _begins(word: str, name: str) -> bool:
    return re.match(rf"{re.escape(name)}(\.|$)", word) is not None
