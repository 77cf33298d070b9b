"""Two builds of the same sources give the same bytes, wherever, whenever, by whomever."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from support import ROOT, artefacts, checkout, command, copy, environment

FIRST = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1", "USER": "first-user"}
SECOND = {
    "LC_ALL": "C.UTF-8",
    "LANG": "de_DE.UTF-8",
    "TZ": "Asia/Kolkata",
    "PYTHONHASHSEED": "2",
    "USER": "second-user",
}


def build(folder: Path, environ: dict[str, str], umask: int, *options: str) -> dict[str, bytes]:
    """Builds in a checkout and gives every artefact, whole libraries included."""
    home = folder.parent / "home"
    home.mkdir()
    done = subprocess.run(
        command(*options),
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


def words_of_the_machine(folder: Path) -> set[bytes]:
    """What could name a checkout, its user or its machine; short names would be found by chance."""
    paths = {str(folder), str(folder.parents[1]), f"{Path.home()}/", sys.prefix, f"{ROOT}/", tempfile.gettempdir()}
    names = {folder.name, os.uname().nodename, getpass.getuser(), "cargo/registry", "first-user", "second-user"}
    return {word.encode() for word in paths | {name for name in names if len(name) > 6}}


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    source = with_a_second_model(checkout(tmp_path / "source"))
    first = copy(source, tmp_path / "a" / "first-checkout")
    second = copy(source, tmp_path / "another place" / "down" / "here" / "second-checkout")
    for path in second.rglob("*"):
        os.utime(path, (time.time(), 1_500_000_000))
    files = build(first, FIRST, 0o022, "-j1", "all")
    again = build(second, SECOND, 0o077, "-j2", "--random", "all")
    packages = {name for name in files if ".web/" in name}
    assert {f"web/{model}/{model}.web/{model}.js" for model in ("mnist", "other")} <= packages
    assert sorted(set(files) - packages) == sorted(
        f"{platform}/{name}"
        for platform, images in (("teaclave", "image"), ("wasi", "image"), ("web", "pixels"))
        for name in (
            *(f"{model}/{name}" for model in ("mnist", "other") for name in made_of(model)),
            *(f"wrapper-{images}{executor}/libwrapper.a" for executor in ("", "-graph")),
        )
    )
    assert [name for name in files if files[name] != again.get(name)] == []
    assert set(again) == set(files)
    words = words_of_the_machine(first) | words_of_the_machine(second)
    assert {(name, word) for name, data in files.items() for word in words if word in data} == set()


def made_of(model: str) -> list[str]:
    """The files that are made of a model."""
    ends = ("graph.json", "interface.json", "ir.json", "o", "params", "symbols.json", "wasm", "weights.safetensors")
    return [f"lib{model}.a", *(f"{model}.{end}" for end in ends)]


def test_a_build_does_not_depend_on_what_was_built_before(built: Path, tmp_path: Path) -> None:
    """One model alone gives the bytes that it has among others."""
    alone = checkout(tmp_path / "alone")
    files = build(alone, FIRST, 0o022, "build/teaclave/mnist/libmnist.a")
    assert len(files) == 7
    assert {name: data for name, data in artefacts(built / "build").items() if name in files} == files
