"""Two builds of one checkout at once: one waits, and nothing that either did is lost."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import CHAIN, artefacts, command, copy, environment, scons

WAITING = "waiting for another build in "
PATIENCE = 120


@pytest.fixture
def top(built: Path, tmp_path: Path) -> Path:
    return copy(built, tmp_path / "checkout")


@contextmanager
def building(top: Path) -> Iterator[None]:
    """Holds the build folder, as a build does."""
    with (top / "build/.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def start(top: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command("-Q", *words), cwd=top, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_both_are_right_and_nothing_is_lost(top: Path) -> None:
    expected = artefacts(top / "build")
    for model in ("mnist", "tiny"):
        shutil.rmtree(top / "build/teaclave" / model)
    builds = [start(top, "mnist.wasm"), start(top, "mnist.wasm", "tiny.wasm")]
    said = [build.communicate(timeout=PATIENCE) for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert sorted(err for _, err in said) == ["", f"{WAITING}{top / 'build'}\n"]
    steps = [line.split()[0] for out, _ in said for line in out.splitlines() if line.startswith(tuple(CHAIN))]
    assert sorted(steps) == sorted(2 * CHAIN)  # each once
    assert artefacts(top / "build") == expected
    assert scons(top, "mnist.wasm", "tiny.wasm").steps == []


def test_one_waits_until_the_other_ends(top: Path) -> None:
    with building(top):
        build = start(top, "mnist.wasm")
        assert build.stderr is not None
        assert build.stderr.readline() == f"{WAITING}{top / 'build'}\n"
        assert build.poll() is None
    out, err = build.communicate(timeout=PATIENCE)
    assert (build.returncode, err) == (0, "")
    assert "is up to date" in out


@pytest.mark.slow
def test_what_builds_nothing_does_not_wait(top: Path) -> None:
    with building(top):
        for option in ("-n", "-q", "--help"):
            assert WAITING not in scons(top, option, "mnist.wasm").err


@pytest.mark.slow
def test_a_killed_build_keeps_nobody_waiting(top: Path) -> None:
    shutil.rmtree(top / "build/teaclave/mnist")
    build = start(top, "mnist.wasm")
    assert build.stdout is not None
    assert build.stdout.readline().startswith("TvmIr")
    build.kill()
    build.communicate()
    assert WAITING not in scons(top, "mnist.wasm").err


def test_a_build_inside_of_a_build_does_not_wait(top: Path) -> None:
    sconstruct = (
        (top / "SConstruct").read_text()
        + f"""
import subprocess
def nested(**_):
    return subprocess.run({command("-Q", "mnist.wasm")}).returncode
AlwaysBuild(Alias("nested", [], Action(nested, cmdstr=None)))
"""
    )
    (top / "SConstruct").write_text(sconstruct)
    build = scons(top, "-Q", "nested")
    assert "is up to date" in build.out
    assert WAITING not in build.err
