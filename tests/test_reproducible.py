"""Two builds of the same sources give the same bytes, wherever, whenever, by whomever."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import artefacts, checkout, command, copy, environment

FIRST = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "USER": "first"}
SECOND = {"LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8", "TZ": "Asia/Kolkata", "PYTHONHASHSEED": "2", "USER": "second"}


def build(folder: Path, environ: dict[str, str], umask: int, *options: str) -> dict[str, bytes]:
    """Builds everything in a checkout and gives every artefact, whole libraries included."""
    home = folder.parent / "home"
    home.mkdir()
    done = subprocess.run(
        command("all", *options),
        cwd=folder,
        env=environment({**environ, "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}),
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return artefacts(folder / "build")


def with_a_second_model(folder: Path) -> Path:
    """The same model with the other executor: steps run side by side, and both kinds are compared."""
    other = copy(folder / "models/mnist", folder / "models/other")
    manifest = other / "mnist.toml"
    text = manifest.read_text().replace('name = "mnist"', 'name = "other"').replace('"aot"', '"graph"')
    manifest.unlink()
    (other / "other.toml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, dict[str, bytes]]]:
    """Two checkouts under two names, and their artefacts."""
    base = tmp_path_factory.mktemp("reproducible")
    source = with_a_second_model(checkout(base / "source"))
    first = copy(source, base / "a" / "first-checkout")
    second = copy(source, base / "another place" / "down" / "here" / "2nd")
    for path in second.rglob("*"):
        os.utime(path, (time.time(), 1_500_000_000))
    return [
        (first, build(first, FIRST, 0o022, "-j1")),
        (second, build(second, SECOND, 0o077, "-j2", "--random")),
    ]


@pytest.mark.slow
def test_every_artefact_has_the_same_bytes(builds: list[tuple[Path, dict[str, bytes]]]) -> None:
    (_, first), (_, second) = builds
    assert set(first) == set(second)
    names = {Path(name).name for name in first}
    for model in ("mnist", "other"):
        assert {f"{model}.{end}" for end in ("ir.json", "weights.safetensors", "o", "graph.json", "params")} < names
        assert {f"lib{model}.a", f"{model}.interface.json", f"{model}.wasm"} < names
    assert [name for name in first if name.endswith("libwrapper.a")] == [
        "teaclave/wrapper-image-graph/libwrapper.a",
        "teaclave/wrapper-image/libwrapper.a",
    ]
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.slow
def test_no_artefact_names_the_machine(builds: list[tuple[Path, dict[str, bytes]]]) -> None:
    for folder, files in builds:
        words = {str(folder), folder.name, str(Path.home()), sys.prefix, sys.base_prefix, os.uname().nodename}
        words |= {f"/home/{getpass.getuser()}", "/cargo/registry", str(folder.parents[1])} - {"/usr"}
        found = {
            (name, word)
            for name, data in files.items()
            for word in words - {"/", "/usr", "/root", "localhost"}
            if word.encode() in data
        }
        assert found == set()


@pytest.mark.slow
def test_a_build_does_not_depend_on_what_was_built_before(builds: list[tuple[Path, dict[str, bytes]]]) -> None:
    """One model alone gives the bytes that it has among others."""
    (_, files), _ = builds
    alone = checkout(builds[0][0].parent / "alone")
    done = subprocess.run(
        command("build/teaclave/mnist/libmnist.a"), cwd=alone, env=environment(), capture_output=True, check=False
    )
    assert done.returncode == 0
    assert artefacts(alone / "build") == {
        name: data for name, data in files.items() if name.startswith("teaclave/mnist/") and not name.endswith(".wasm")
    }
