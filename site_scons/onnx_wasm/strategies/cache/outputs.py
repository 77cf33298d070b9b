"""An action's outputs, written from blobs: all of them whole, or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from onnx_wasm.strategies.cache.action_result import ActionResult
from onnx_wasm.strategies.cache.digest import Digest
from onnx_wasm.strategies.cache.errors import DamagedError

LARGEST = 4 << 30
"""Bytes of the largest output that is taken: what wasm32 can address."""

Fetch = Callable[[Mapping[Path, Digest]], bool]


def place(fetch: Fetch, result: ActionResult, outputs: Mapping[str, Path]) -> bool:
    """Writes what a result names, if that is just what is wanted.

    Args:
        fetch: As ``Tier.fetch``.
        result: The result.
        outputs: The files to write, by the paths that the result must have for them.

    Returns:
        Whether all blobs were there; else no file is touched.

    Raises:
        DamagedError: It names anything else.
    """
    named = {it.path: it for it in result.files}
    if named.keys() != outputs.keys() or len(named) != len(result.files):
        raise DamagedError("a result names other outputs than its action has")
    if any(it.digest.size > LARGEST for it in result.files):
        raise DamagedError(f"a result names an output of more than {LARGEST:,} bytes")
    partial = {path: path.with_name(f".{path.name}.partial") for path in outputs.values()}
    try:
        for path in partial.values():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
        if not fetch({partial[outputs[name]]: it.digest for name, it in named.items()}):
            return False
        for name, it in named.items():
            path = partial[outputs[name]]
            path.chmod(path.stat().st_mode | 0o111 if it.executable else path.stat().st_mode & ~0o111)
            path.replace(outputs[name])
        return True
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)


def remove_others(folder: Path, outputs: Collection[Path]) -> None:
    """Removes what an earlier action left in a folder that is to hold an action's outputs and nothing else.

    Args:
        folder: The folder.
        outputs: The files that stay.
    """
    for path in sorted(folder.rglob("*"), reverse=True):  # what is inside comes first
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in outputs:
            path.unlink()
