"""What a change touches: the files that git knows to differ, and the targets that are made from them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.query.graph import ALIAS, Graph


def changed(top: Path, revision: str) -> list[str]:
    """Asks git which files are not what they were.

    Args:
        top: The workspace: the top of a git checkout, or any folder in one.
        revision: What to compare the files that are there now with: a commit, a branch, a tag.

    Returns:
        Their paths from the workspace: changed, added, deleted, under their old name and their new one, and those that
        git was not told of, unless it is to ignore them.

    Raises:
        BuildError: There is no git, no checkout, or no such revision.
    """
    git_top = Path(_git(top, "rev-parse", "--show-toplevel").rstrip("\n"))
    commit = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", of=revision)
    listings = (
        _git(top, "diff", "--name-only", "--no-renames", "--no-relative", "-z", commit.strip(), "--"),
        _git(git_top, "ls-files", "--others", "--exclude-standard", "-z"),
    )
    names = {name for listing in listings for name in listing.split("\0") if name}
    return sorted(os.path.relpath(git_top / name, top.resolve()) for name in names)


def targets(graph: Graph, files: Sequence[str], decisive: set[str]) -> list[str]:
    """Tells which targets a change of files touches.

    Args:
        graph: All that there is.
        files: The files, as the graph labels them. One that is gone, and nobody names, may have been found by a search:
            it touches what is made from the files beside it.
        decisive: Files that say what the graph is; they touch every target.

    Returns:
        The aliases that lead to what is made from the files, sorted; without ``all`` and ``test``.
    """
    if decisive.intersection(files):
        touched = set(graph.nodes)
    else:
        beside = {folder for file in files if file not in graph.nodes and (folder := _lost_from(file)) is not None}
        named = graph.nodes.keys() & set(files)
        touched = graph.rdeps(named | {label for label in graph.nodes if os.path.dirname(label) in beside})  # noqa: PTH120
    return sorted(it for it in touched if graph.nodes[it].kind == ALIAS and it not in ("all", "test"))


def _lost_from(file: str) -> str | None:
    """The nearest folder that is there of a file that is not."""
    path = Path(file)
    if path.exists():
        return None
    return str(next(folder for folder in path.parents if folder.exists()))


def _git(folder: Path, *words: str, of: str = "") -> str:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise BuildError(Problem("affected", f"git cannot be run: {error.strerror}", "install git")) from None
    if done.returncode == 0:
        return done.stdout
    if of:
        hint = "name a commit, a branch or a tag; a shallow clone has only the latest: git fetch --unshallow"
        raise BuildError(Problem("--since", f"git knows no revision {of}", hint))
    raise BuildError(Problem("affected", f"git: {done.stderr.strip()}"))
