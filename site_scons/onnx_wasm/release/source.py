"""The sources that a release is made from: a commit of a git repository. Standard library: the rules ask here too."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

_EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True)
class Source:
    """A working tree and the commit that it is at.

    Args:
        commit: The commit's full name, in hexadecimal.
        epoch: The time that a release carries, in seconds since 1970: ``SOURCE_DATE_EPOCH``, or the commit's own.
        uncommitted: The files that differ from the commit, or that it does not know.
    """

    commit: str
    epoch: int
    uncommitted: tuple[str, ...]


def read(top: Path, environ: Mapping[str, str] = os.environ) -> Source:
    """Asks git for the state of a working tree.

    Args:
        top: A folder of it.
        environ: Where ``SOURCE_DATE_EPOCH`` is looked for.

    Raises:
        BuildError: It is no working tree of git, it has no commit, or ``SOURCE_DATE_EPOCH`` is no number.
    """
    commit = git(top, "rev-parse", "HEAD").strip()
    status = git(top, "status", "--porcelain", "--untracked-files=all", "-z")
    text = environ.get(_EPOCH) or git(top, "log", "-1", "--format=%ct").strip()
    if not text.isdecimal():
        raise BuildError(Problem(_EPOCH, f"{text!r} is no number of seconds", "unset it, or date +%s"))
    return Source(commit, int(text), _paths(status))


def git(top: Path, *words: str) -> str:
    """What a git command prints.

    Raises:
        BuildError: There is no git, or it fails.
    """
    command: Sequence[str] = ["git", "-C", str(top), *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError as error:
        raise BuildError(Problem("git", "is not installed", "a release is made from a commit")) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise BuildError(Problem(str(top), f"git {words[0]} failed: {said}", "a release is made from a commit"))
    return done.stdout.decode(errors="surrogateescape")


def _paths(status: str) -> tuple[str, ...]:
    """The paths in what ``git status --porcelain -z`` prints; a renamed file's old name follows without a state."""
    entries = iter(status.split("\0"))
    paths = []
    for entry in entries:
        if entry:
            paths.append(entry[3:])
            if entry[0] in "RC":
                next(entries, None)
    return tuple(paths)
