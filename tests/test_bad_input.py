"""Each folder of ``tests/bad`` is a workspace that cannot be built: how that is told, and what it leaves behind.

``expected.txt`` holds parts of the message, one a line. Those that begin with a place, such as ``model.toml:4:``, begin
the problems: these, in this order, and no others. ``environ.txt`` holds variables for the build.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import bad_models
import onnx
import pytest
from support import ROOT, TINY, WORKSPACE, Build, artefacts, command, copy, environment, scons, tiny

BAD = sorted((ROOT / "tests/bad").iterdir())
STEPS = [folder for folder in BAD if not folder.name.startswith("manifest-")]
SITE = ("--site-dir", ROOT / "site_scons")
LIBRARY = "build/teaclave/m/libm.a"
PLACE = re.compile(r"(model\.(toml|onnx)|toolchain)\b.*: ")
FULL_DISKS = ["8k", "12k", "16k", "20k", "28k"]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose library is built."""
    folder = tmp_path_factory.mktemp("good") / "workspace"
    write_good(folder)
    scons(folder, *SITE, LIBRARY)
    return folder


def write_good(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SConstruct").write_text(WORKSPACE)
    (folder / "model.toml").write_text(TINY.replace("tiny", "m", 1).replace("tiny.onnx", "model.onnx"))
    onnx.save(tiny(), folder / "model.onnx")


def make_bad(folder: Path, case: Path) -> dict[str, str]:
    """Puts a bad case over a workspace and gives the variables of its environment."""
    shutil.copytree(case, folder, dirs_exist_ok=True)
    variables = folder / "environ.txt"
    return dict(line.split("=", 1) for line in variables.read_text().splitlines()) if variables.exists() else {}


def make_good(folder: Path, case: Path) -> None:
    """Takes a bad case away again."""
    for path in case.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(case)).unlink(missing_ok=True)
    write_good(folder)


def check_message(build: Build, case: Path) -> None:
    expected = (case / "expected.txt").read_text().splitlines()
    assert build.status == 2
    assert "Traceback" not in build.err + build.out
    assert "AssertionError" not in build.err + build.out
    for part in expected:
        assert part in build.err
    told = [line for line in build.err.splitlines() if line[:1] not in ("", " ") and not line.startswith("scons: ")]
    begun = [part for part in expected if PLACE.match(part)]
    assert len(told) == len(begun), f"a problem too many or too few:\n{build.err}"
    assert all(line.startswith(part) for line, part in zip(told, begun, strict=True)), "problems in another order"


def check_left_behind(left: Path, build: Build) -> None:
    """A build folder holds no half-written file, no target of the step that failed, no folder of a temporary file."""
    files = sorted(path for path in left.rglob("*") if path.name not in (".lock", "toolchain.json", "m"))
    known = re.compile(r"(m\.(ir\.json|weights\.safetensors|o|graph\.json|params|interface\.json|wasm)|libm\.a)")
    assert [path for path in files if path.is_file() and not known.fullmatch(path.name)] == []
    assert [path for path in files if path.name.startswith((".", "tmp"))] == []
    for failed in re.findall(r"^scons: \*\*\* \[(\S+)\]", build.err, re.MULTILINE):
        assert not (left / Path(failed).relative_to("build")).exists()


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 60
    assert len(STEPS) >= 25
    assert all((folder / "expected.txt").read_text().strip() for folder in BAD)
    assert all((folder / "model.toml").exists() for folder in BAD)


@pytest.mark.parametrize("name", bad_models.MODELS)
def test_the_models_are_what_the_script_writes(name: str) -> None:
    assert (ROOT / "tests/bad" / name / "model.onnx").read_bytes() == bad_models.MODELS[name]()


@pytest.mark.slow
def test_a_bad_manifest_stops_scons(tmp_path: Path) -> None:
    """What is wrong in a manifest is told before anything runs, and nothing is written but the build's lock."""
    for case in (folder for folder in BAD if folder.name.startswith("manifest-")):
        folder = tmp_path / case.name
        write_good(folder)
        make_bad(folder, case)
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        build = scons(folder, *SITE, LIBRARY, status=None)
        check_message(build, case)
        assert build.targets == []
        before[folder / "build/.lock"] = b""
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


ORDINARY = [folder for folder in STEPS if folder.name not in ("disk-full", "build-folder-read-only")]


@pytest.mark.slow
@pytest.mark.parametrize("case", ORDINARY, ids=lambda folder: folder.name)
def test_it_is_told_leaves_nothing_half_made_and_the_next_good_build_succeeds(
    case: Path, good: Path, tmp_path: Path
) -> None:
    """Between two good builds a bad one changes nothing."""
    folder = copy(good, tmp_path / "workspace")
    environ = make_bad(folder, case)
    build = scons(folder, *SITE, LIBRARY, environ=environ, status=None)
    check_message(build, case)
    check_left_behind(folder / "build", build)
    make_good(folder, case)
    scons(folder, *SITE, LIBRARY)
    assert artefacts(folder / "build") == artefacts(good / "build")
    assert scons(folder, *SITE, LIBRARY).steps == []


@pytest.mark.slow
def test_one_bad_model_does_not_stop_the_others_with_keep_going(tmp_path: Path) -> None:
    folder = tmp_path / "workspace"
    write_good(folder)
    (folder / "bad.toml").write_text(
        (folder / "model.toml").read_text().replace('"m"', '"bad"').replace(".onnx", ".not")
    )
    (folder / "model.not").write_bytes(b"not a model")
    build = scons(folder, *SITE, "-k", "build/teaclave/bad/libbad.a", LIBRARY, status=2)
    assert "model.not: not an ONNX file" in build.err
    assert (folder / LIBRARY).exists()


def test_a_manifest_that_is_not_there_is_told(tmp_path: Path) -> None:
    sconstruct = WORKSPACE.replace('Glob("*.toml")', '["absent.toml", "other.toml"]')
    (tmp_path / "SConstruct").write_text(sconstruct)
    build = scons(tmp_path, *SITE, status=2)
    assert build.err.splitlines()[:2] == [
        "absent.toml: cannot be read: No such file or directory",
        "other.toml: cannot be read: No such file or directory",
    ]


# Folders that cannot be written. Mounts in a namespace of their own: the way in which root can have such folders too.


def in_namespace(folder: Path, mount: str) -> Build:
    """Builds where a mount makes ``build`` unfit; skips where this user may not mount.

    What the build leaves there is copied to ``left``, beside the folder.
    """
    script = f"{mount} && {{ {shlex.join(command(*SITE, LIBRARY))}; status=$?; cp -a build ../left; exit $status; }}"
    unshare = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    if subprocess.run([*unshare, "sh", "-c", mount], cwd=folder, capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    done = subprocess.run(
        [*unshare, "sh", "-c", script], cwd=folder, env=environment(), capture_output=True, text=True, check=False
    )
    return Build(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "workspace"
    write_good(folder)
    (folder / "build").mkdir()
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("size", FULL_DISKS)
def test_a_full_disk(size: str, workspace: Path) -> None:
    """On ever larger disks another step finds it full."""
    build = in_namespace(workspace, f"mount -t tmpfs -o size={size} tmpfs build")
    assert build.status == 2
    assert "No space left on device" in build.err
    assert "model.toml: " in build.err
    assert "Traceback" not in build.err
    assert "Stack dump" not in build.err
    check_left_behind(workspace.parent / "left", build)


@pytest.mark.slow
def test_a_read_only_build_folder(workspace: Path, good: Path) -> None:
    case = ROOT / "tests/bad/build-folder-read-only"
    build = in_namespace(workspace, "mount --bind build build && mount -o remount,ro,bind build")
    check_message(build, case)
    assert f"{workspace}/build/teaclave" in build.err
    shutil.copytree(good / "build", workspace / "build", dirs_exist_ok=True)
    shutil.rmtree(workspace.parent / "left")
    build = in_namespace(workspace, "mount --bind build build && mount -o remount,ro,bind build")
    check_message(build, case)
    assert artefacts(workspace / "build") == artefacts(good / "build")
    scons(workspace, *SITE, LIBRARY)
    assert artefacts(workspace / "build") == artefacts(good / "build")
