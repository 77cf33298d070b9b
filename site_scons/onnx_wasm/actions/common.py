"""What every action's main shares: its end when something is wrong, and outputs that are whole or not there."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from onnx_wasm.errors import BuildError

FAILED = 2
_PR_SET_PDEATHSIG = 1


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Runs an action on the command line's arguments and ends the process: 0, or 2 with every problem on stderr.

    Args:
        parser: The action's arguments. ``--label`` is added: the manifest or file that messages name.
        run: The action itself; raises BuildError for what the user can mend.
    """
    parser.add_argument("--label", default=parser.prog, help="what messages call this step")
    _die_with_parent()
    try:
        run(parser.parse_args())
    except BuildError as error:
        sys.stderr.write(f"{error}\n")
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


def _die_with_parent() -> None:
    """Asks Linux to end this process when SCons ends, so that a killed build leaves nobody writing."""
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit(FAILED)
