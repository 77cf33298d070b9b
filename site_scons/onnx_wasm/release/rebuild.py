"""Builds a release once more, from the materials that its provenance names, and holds the two against each other."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from onnx_wasm import toolchain
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.release import difference, lock, provenance, signing, source, sums
from onnx_wasm.release.provenance import Build

_LINES_OF_LOG = 20


def rebuild(folder: Path, build: Build, repository: Path) -> list[Problem]:
    """Builds what a release says it was made from, and tells in what the result differs from the release.

    Args:
        folder: The release.
        build: How it says it was made.
        repository: A git repository that has the commit.

    Raises:
        BuildError: It cannot be built: the commit is not there, a material or a tool is another, or a step failed.
    """
    problems = lock.problems(folder / lock.NAME, toolchain.find())
    if problems:
        raise BuildError(problems)
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-rebuild-") as scratch:
        checkout = Path(scratch, "checkout")
        _check_out(repository, build.commit, checkout)
        problems = _other_materials(checkout, build)
        if problems:
            raise BuildError(problems)
        _build(checkout, build)
        return _differences(folder, checkout / "dist" / folder.name)


def _check_out(repository: Path, commit: str, checkout: Path) -> None:
    try:
        source.git(repository, "cat-file", "-e", f"{commit}^{{commit}}")
    except BuildError as error:
        hint = "fetch it, or name a repository that has it: --source"
        raise BuildError(Problem(str(repository), f"has no commit {commit}", hint)) from error
    source.git(repository, "clone", "--quiet", "--no-checkout", str(repository.resolve()), str(checkout))
    source.git(checkout, "checkout", "--quiet", "--detach", commit)


def _other_materials(checkout: Path, build: Build) -> list[Problem]:
    """The materials that the commit has otherwise than the provenance says."""
    message = f"has another sha256 in commit {build.commit} than the provenance says"
    return [
        Problem(name, message, "the release was not made from it")
        for name, digest in build.files.items()
        if (path := checkout / name).is_file() and sums.digest(path) != digest
    ]


def _build(checkout: Path, build: Build) -> None:
    environ = {key: value for key, value in os.environ.items() if key != signing.KEY_VARIABLE}
    environ["SOURCE_DATE_EPOCH"] = str(build.epoch)
    command = [sys.executable, "-P", "-m", "SCons", "-Q", build.target]
    done = subprocess.run(command, cwd=checkout, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        log = "\n    ".join((done.stdout + done.stderr).strip().splitlines()[-_LINES_OF_LOG:])
        raise BuildError(Problem(build.target, "cannot be built from the provenance's materials", log))


def _differences(folder: Path, rebuilt: Path) -> list[Problem]:
    if not rebuilt.is_dir():
        return [Problem(str(folder), f"is called otherwise than what its materials build: there is no {rebuilt.name}")]
    first, second = (
        {path.relative_to(it).as_posix(): path for path in it.rglob("*") if path.is_file()} for it in (folder, rebuilt)
    )
    found = [
        Problem(str(folder / it.file), f"is not what its materials build: {it}")
        for it in difference.differences(first, second)
        if it.file not in (provenance.NAME, sums.NAME)
    ]
    theirs, ours = (signing.open_envelope((it / provenance.NAME).read_bytes(), str(it)) for it in (folder, rebuilt))
    if theirs.payload != ours.payload:
        found.append(Problem(str(folder / provenance.NAME), "tells otherwise than the statement of what was rebuilt"))
    return found
