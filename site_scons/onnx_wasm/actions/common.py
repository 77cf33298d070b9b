"""What every action's main shares: its end when something is wrong, and outputs that are whole or not there."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

FAILED = 2
_PR_SET_PDEATHSIG = 1


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Runs an action on the command line's arguments and ends the process: 0, or 2 with every problem on stderr.

    Args:
        parser: The action's arguments. ``--manifest`` is added: the manifest that messages name.
        run: The action itself; raises BuildError for what the user can mend.
    """
    parser.add_argument("--manifest", type=Path, default=Path(parser.prog), help="the manifest that messages name")
    _die_with_parent()
    arguments = parser.parse_args()
    try:
        run(arguments)
    except BuildError as error:
        sys.stderr.write(f"{BuildError(_placed(it, arguments.manifest) for it in error.problems)}\n")
        sys.exit(FAILED)
    except OSError as error:
        sys.stderr.write(f"{error.filename or parser.prog}: {error.strerror or error}\n")
        sys.exit(FAILED)


@contextlib.contextmanager
def written_whole(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Gives a temporary path beside each output and renames all of them at the end, or removes them on failure.

    Args:
        paths: The outputs. Their folders are made.

    Yields:
        One temporary path per output, in the same folder, so that the rename is atomic.
    """
    partial = tuple(path.with_name(f".{path.name}.partial") for path in paths)
    for path in partial:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        for temporary, path in zip(partial, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in partial:
            temporary.unlink(missing_ok=True)


def _placed(problem: Problem, path: Path) -> Problem:
    """Turns the key of a manifest that is to blame into its file and line, if the manifest can be read from here."""
    if not problem.key:
        return problem
    from onnx_wasm import manifest

    try:
        return dataclasses.replace(problem, where=manifest.load(path).where(*problem.key))
    except BuildError:
        return problem


def _die_with_parent() -> None:
    """Asks Linux to end this process when SCons ends, so that a killed build leaves nobody writing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.environ.get("ONNX_WASM_PARENT", str(os.getppid())) != str(os.getppid()):
        sys.exit(FAILED)  # SCons ended before
