"""A build that was killed leaves nothing that a later build could take for finished."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

import onnx
import pytest
from support import TINY, artefacts, command, copy, environment, scons, tiny

from onnx_wasm.benchmarks.kills import KILLS, Kill

SEED = 20
CHANCE = random.Random(SEED)
VARIANTS = [(weights, opt_level) for weights in (1, 2) for opt_level in (0, 3)]
"""What a source can say: the seed of its weights, and ``opt-level``."""


def write_sources(top: Path, variant: tuple[int, int]) -> None:
    weights, opt_level = variant
    folder = top / "models/tiny"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(tiny(weights), folder / "tiny.onnx")
    (folder / "tiny.toml").write_text(f"{TINY}\n[compile]\nopt-level = {opt_level}\n")


def build_for(top: Path, seconds: float, kill: Kill, target: str, *options: str) -> bool:
    """Builds in a process group of its own, kills at its moment, and tells whether there was anything to kill."""
    process = subprocess.Popen(
        command("-j2", *options, target),
        cwd=top,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return kill(process, CHANCE)
    return False


def compiled(top: Path) -> dict[str, bytes]:
    """The model's artefacts."""
    return {name: data for name, data in artefacts(top / "build").items() if "/tiny/" in name}


def differing(some: dict[str, bytes], others: dict[str, bytes]) -> list[str]:
    """The artefacts that are not the same."""
    return sorted(name for name in some.keys() | others.keys() if some.get(name) != others.get(name))


@pytest.fixture(scope="module")
def prepared(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of a small model, of which only the wrapper is built."""
    top = copy(built, tmp_path_factory.mktemp("killed") / "prepared")
    shutil.rmtree(top / "models/mnist")
    for model in ("mnist", "tiny"):
        shutil.rmtree(top / "build/teaclave" / model)
    return top


@pytest.fixture(scope="module")
def undisturbed(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[int, int], dict[str, bytes]]:
    """The artefacts of each variant, built in peace."""
    top = copy(prepared, tmp_path_factory.mktemp("undisturbed") / "checkout")
    found = {}
    for variant in VARIANTS:
        write_sources(top, variant)
        scons(top, "tiny.wasm")
        found[variant] = compiled(top)
    assert len({files["teaclave/tiny/tiny.wasm"] for files in found.values()}) == len(VARIANTS)
    return found


@pytest.mark.parametrize(
    ("kill", "moments", "options"),
    [
        *(pytest.param(kill, 1, (), id=name) for name, kill in KILLS.items()),
        *(pytest.param(kill, 15, (), id=f"{name}, often", marks=pytest.mark.slow) for name, kill in KILLS.items()),
        *(
            pytest.param(kill, 5, ("--strategy=sandbox",), id=f"{name}, sandbox", marks=pytest.mark.slow)
            for name, kill in KILLS.items()
        ),
    ],
)
def test_the_next_build_is_as_if_nothing_had_happened(
    kill: Kill,
    moments: int,
    options: tuple[str, ...],
    prepared: Path,
    undisturbed: dict[tuple[int, int], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    """Each moment starts from what the last one left behind: an edit, a kill; sometimes the edit is taken back."""
    CHANCE.seed(SEED)
    top = copy(prepared, tmp_path / "checkout")
    variant = VARIANTS[0]
    write_sources(top, variant)
    start = time.monotonic()
    scons(top, *options, "tiny.wasm")
    duration = time.monotonic() - start
    killed = 0
    for _ in range(3 * moments):
        if killed == moments:
            break
        edited = CHANCE.choice([other for other in VARIANTS if other != variant])
        write_sources(top, edited)
        killed += build_for(top, CHANCE.uniform(0, duration), kill, "tiny.wasm", *options)
        if CHANCE.random() < 0.5:
            variant = edited
        write_sources(top, variant)
        scons(top, *options, "tiny.wasm")
        assert differing(compiled(top), undisturbed[variant]) == []
        assert not list(top.glob("build/**/*.partial"))
    assert killed == moments, "too few builds were still at work when they were to be killed"


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["all of a build", "scons"])
def test_a_killed_compilation_of_the_wrapper_is_done_again(victim: str, built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    target = "build/teaclave/wrapper/libwrapper.a"
    expected = (top / target).read_bytes()
    (top / target).unlink()
    write_sources(top, VARIANTS[0])
    for seconds in (1.0, 2.0, 3.0):
        assert build_for(top, seconds, KILLS[victim], target)
    scons(top, target)
    assert (top / target).read_bytes() == expected
    assert not (top / target).with_name("cargo").exists()


@pytest.mark.slow
def test_what_a_killed_step_left_beside_its_targets_goes(prepared: Path, tmp_path: Path) -> None:
    """Temporary files have the same names in every build, so that the next one takes them away."""
    top = copy(prepared, tmp_path / "checkout")
    write_sources(top, VARIANTS[0])
    scons(top, "tiny.wasm")
    expected = compiled(top)
    folder = top / "build/teaclave/tiny"
    (folder / ".libtiny.a.scratch").mkdir()
    (folder / ".libtiny.a.scratch/data.o").write_bytes(b"half of it")
    for name in ("tiny.o", "tiny.ir.json", "libtiny.a"):
        shutil.copy(folder / name, folder / f".{name}.partial")  # an archive to which llvm-ar would add
        (folder / name).unlink()
    scons(top, "tiny.wasm")
    assert differing(compiled(top), expected) == []


@pytest.mark.slow
def test_what_scons_did_not_note_is_built_again(
    prepared: Path, undisturbed: dict[tuple[int, int], dict[str, bytes]], tmp_path: Path
) -> None:
    """The moment between a target's rename and SCons's note of it, which a random kill hardly ever hits."""
    top = copy(prepared, tmp_path / "checkout")
    write_sources(top, VARIANTS[0])
    scons(top, "tiny.wasm")
    other = undisturbed[VARIANTS[3]]
    time.sleep(1.1)  # SCons notes times in whole seconds
    for name, data in other.items():
        (top / "build" / name).write_bytes(data)
    scons(top, "tiny.wasm")
    assert differing(compiled(top), undisturbed[VARIANTS[0]]) == []
