"""Times that tell nothing - a clock that was put back, files with the times of others - do not mislead a build."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from support import copy, scons, tiny

MODEL = Path("models/tiny/tiny.onnx")
MODULE = Path("build/teaclave/tiny/tiny.wasm")
LONG_AGO, FAR_AHEAD = 1_000_000_000, 4_000_000_000


def set_time(path: Path, seconds: float) -> None:
    os.utime(path, (seconds, seconds))


@pytest.fixture
def top(built: Path, tmp_path: Path) -> Path:
    return copy(built, tmp_path / "checkout")


@pytest.fixture(scope="module")
def other_module(built: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The module of the model with other weights."""
    top = copy(built, tmp_path_factory.mktemp("other") / "checkout")
    onnx.save(tiny(1), top / MODEL)
    scons(top, "tiny.wasm")
    return (top / MODULE).read_bytes()


TIMES: dict[str, Callable[[float], float]] = {
    "the time that it had": lambda before: before,
    "an hour earlier": lambda before: before - 3600,
    "long ago": lambda _: LONG_AGO,
    "far ahead": lambda _: FAR_AHEAD,
}


@pytest.mark.slow
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("before", [LONG_AGO, FAR_AHEAD])
def test_an_edit_of_any_time_counts(before: float, time: str, top: Path, other_module: bytes) -> None:
    """Also of just the time and the size that the file had: it may be a copy, or out of an archive."""
    set_time(top / MODEL, before)
    scons(top, "tiny.wasm")
    onnx.save(tiny(1), top / MODEL)
    set_time(top / MODEL, TIMES[time](before))
    scons(top, "tiny.wasm")
    assert (top / MODULE).read_bytes() == other_module


@pytest.mark.slow
@pytest.mark.parametrize("time", [LONG_AGO, FAR_AHEAD])
def test_targets_of_any_time_hold_the_right_bytes(time: float, top: Path) -> None:
    expected = (top / MODULE).read_bytes()
    for path in (top / MODULE.parent).iterdir():
        set_time(path, time)
    scons(top, "tiny.wasm")
    assert (top / MODULE).read_bytes() == expected
    assert scons(top, "tiny.wasm").steps == []


def test_a_target_from_elsewhere_is_not_taken_for_ours(top: Path) -> None:
    expected = (top / MODULE).read_bytes()
    shutil.copy(top / "build/teaclave/mnist/mnist.wasm", top / MODULE)
    set_time(top / MODULE, LONG_AGO)
    scons(top, "tiny.wasm")
    assert (top / MODULE).read_bytes() == expected
