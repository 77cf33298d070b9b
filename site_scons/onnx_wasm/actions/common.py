"""What every action's main shares: its end when something is wrong, and outputs that are whole or not there."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import dataclasses
import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from onnx_wasm.errors import BuildError, LimitMissedError, Problem

FAILED = 2
_LIMIT_MISSED = 3
"""Between the processes of an action, where 1 is what Python ends with when it breaks off."""

_PR_SET_PDEATHSIG = 1
_OUT_OF_MEMORY = "if the system ran out of memory, have fewer steps run at once: -j1, or jobs-memory in workspace.toml"


def main(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], None]) -> None:
    """Runs an action on the command line's arguments and ends the process: 0, or 2 with every problem on stderr.

    It ends with 1 if all was done, but missed a limit.

    The action runs in a process of its own: a compiler's library that aborts leaves somebody to tidy up and tell of it.

    Args:
        parser: The action's arguments. ``--manifest`` is added: the manifest that messages name.
        run: The action itself; raises BuildError for what the user can mend.
    """
    parser.add_argument("--manifest", type=Path, default=Path(parser.prog), help="the manifest that messages name")
    die_with(int(os.environ.get("ONNX_WASM_PARENT", os.getppid())))
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    this = os.getpid()
    child = os.fork()
    if child == 0:
        die_with(this)
        sys.exit(_attempt(run, arguments, parser.prog))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == _LIMIT_MISSED:
        sys.exit(LimitMissedError.status)
    if status not in (0, FAILED):
        _tidy_up(arguments)
        if status != -signal.SIGINT:
            how = f"exit status {status}" if status > 0 else signal.Signals(-status).name
            hint = _OUT_OF_MEMORY if status == -signal.SIGKILL else ""
            sys.stderr.write(f"{Problem(str(arguments.manifest), f'{parser.prog} broke off: {how}', hint)}\n")
    sys.exit(FAILED if status else 0)


def add_params(parser: argparse.ArgumentParser) -> None:
    """Adds ``--params KEY FILE`` for modules that read their weights from a file: a list of at most one such pair."""
    parser.add_argument(
        "--params", nargs=2, action="append", default=[], metavar=("KEY", "FILE"), help="the weights, if in a file"
    )


def add_opt_level(parser: argparse.ArgumentParser) -> None:
    """Adds ``--opt-level``, of the manifest's: a number, or ``s``."""
    parser.add_argument("--opt-level", type=_opt_level, choices=(*range(4), "s"), required=True)


def _opt_level(text: str) -> int | str:
    return int(text) if text.isdecimal() else text


def _attempt(run: Callable[[argparse.Namespace], None], arguments: argparse.Namespace, step: str) -> int:
    try:
        run(arguments)
    except BuildError as error:
        sys.stderr.write(f"{BuildError(_placed(it, arguments.manifest) for it in error.problems)}\n")
        return _LIMIT_MISSED if isinstance(error, LimitMissedError) else FAILED
    except OSError as error:
        place = error.filename or arguments.manifest
        sys.stderr.write(f"{Problem(str(place), f'{step}: {error.strerror or error}')}\n")
        return FAILED
    return 0


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Rests the garbage collector: importing TVM makes many objects and no garbage, and is a seventh quicker so."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def written_whole(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Gives a temporary path beside each output and renames all of them at the end, or removes them on failure.

    Args:
        paths: The outputs. Their folders are made.

    Yields:
        One temporary path per output, in the same folder, so that the rename is atomic.
    """
    partial = tuple(map(_partial, paths))
    for path in partial:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a build that was killed; an archiver would add to it
    try:
        yield partial
        for temporary, path in zip(partial, paths, strict=True):
            temporary.replace(path)
    finally:
        for temporary in partial:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """As ``written_whole``, for a folder with all that is in it; one that is there is replaced.

    Args:
        path: The folder.

    Yields:
        A temporary folder beside it, empty.
    """
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _tidy_up(arguments: argparse.Namespace) -> None:
    """Removes what ``written_whole`` could not."""
    for value in vars(arguments).values():
        if isinstance(value, Path):
            partial = _partial(value)
            if partial.is_dir():
                shutil.rmtree(partial, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):  # beside an input, where nothing can be written
                    partial.unlink(missing_ok=True)


@contextlib.contextmanager
def scratch_beside(output: Path) -> Iterator[Path]:
    """Gives an empty folder beside an output, which is gone at the end; what a killed build left in it goes too."""
    folder = output.with_name(f".{output.name}.scratch")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run_tool(command: Sequence[str], label: str) -> None:
    """Runs a program of the toolchain.

    Args:
        command: Its words.
        label: What messages call the manifest.

    Raises:
        BuildError: It fails; with what it says, or just the first line of that if it crashed.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        said = result.stderr.strip() if result.returncode > 0 else next(iter(result.stderr.splitlines()), "it crashed")
        raise BuildError(Problem(label, f"{command[0]} failed: {said}"))


def _placed(problem: Problem, path: Path) -> Problem:
    """Turns the key of a manifest that is to blame into its file and line, if the manifest can be read from here."""
    if not problem.key:
        return problem
    from onnx_wasm import manifest

    try:
        return dataclasses.replace(problem, where=manifest.load(path).where(*problem.key))
    except BuildError:
        return problem


def die_with(parent: int) -> None:
    """Asks Linux to end this process when its parent ends, so that a killed build leaves nobody writing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(FAILED)  # it ended before
