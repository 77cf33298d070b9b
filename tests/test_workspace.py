"""A large workspace: only the manifests that the command line's targets need become nodes, and matter."""

from __future__ import annotations

import os
import re
from pathlib import Path

import onnx
import pytest
from support import ROOT, TINY, Build, scons, tiny

SCONSTRUCT = """
SetOption("hash_format", "sha256")
env = Environment(tools=["onnx_to_wasm"])
env.Alias("site", "site.txt")
env.Alias("fleet", [env.Alias("a.web"), env.Alias("b.test")])
env.WasmWorkspace("models/*/*.toml", on_demand=["more/*/*.toml"])
print("declared:", *sorted(env["ONNX_WASM"].models))
"""
ALL = ["a", "a.b", "b", "b-wide"]
VARIANT = '\n[[variant]]\nname = "wide"\nshapes = { x = [2, 4] }\n'
PLATFORMS = '\n[compile]\nplatforms = ["wasi", "web"]\n'


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Three models under ``models/``, one of them with a variant, and one that is built on demand."""
    (tmp_path / "SConstruct").write_text(SCONSTRUCT)
    (tmp_path / "site.txt").write_text("")
    for folder, name, more in (
        ("models", "a", PLATFORMS),
        ("models", "a.b", ""),
        ("models", "b", VARIANT),
        ("more", "c", ""),
    ):
        place(tmp_path / folder / name, name, more)
    return tmp_path


def place(folder: Path, name: str, more: str = "") -> Path:
    folder.mkdir(parents=True)
    onnx.save(tiny(), folder / "tiny.onnx")
    manifest = folder / "model.toml"
    manifest.write_text(TINY.replace('"tiny"', f'"{name}"', 1) + more)
    return manifest


def plan(top: Path, *words: str, status: int | None = 0) -> Build:
    """Has SCons say what it would build; nothing is."""
    return scons(top, "--site-dir", ROOT / "site_scons", "-n", *words, status=status)


def declared(build: Build) -> list[str]:
    (line,) = re.findall(r"^declared:(.*)$", build.out, re.MULTILINE)
    return str(line).split()


@pytest.mark.parametrize(
    ("target", "models"),
    {
        "b.wasm": ["b", "b-wide"],
        "b-wide.teaclave.wasm": ["b", "b-wide"],
        "a.web": ["a"],
        "a.wasi.profile": ["a"],
        "a.b.wasm": ["a", "a.b"],
        "c.verify": ["c"],
        "build/wasi/a/a.o": ["a"],
        "#build/teaclave/a.b": ["a.b"],
        "fleet": ["a", "b", "b-wide"],
        "site": [],
        "all": ALL,
        "test": ALL,
        "build": ALL,
        "build/teaclave/wrapper/libwrapper.a": ALL,
        "models": ALL,
    }.items(),
)
def test_a_target_declares_the_models_that_it_needs(target: str, models: list[str], top: Path) -> None:
    assert declared(plan(top, target)) == models


def test_no_target_declares_all(top: Path) -> None:
    assert declared(plan(top)) == ALL


def test_several_targets_declare_what_each_needs(top: Path) -> None:
    assert declared(plan(top, "c.wasm", "a.web")) == ["a", "c"]
    assert declared(plan(top, "all", "c.wasm")) == [*ALL, "c"]


def test_help_lists_all_and_what_is_built_on_demand(top: Path) -> None:
    said = plan(top, "--help").out
    assert [name for name in (*ALL, "c") if f"  {name} " in said] == [*ALL, "c"]


def test_a_target_below_the_folder_that_scons_is_started_in(top: Path) -> None:
    folder = top / "build/wasi"
    folder.mkdir(parents=True)
    assert declared(plan(folder, "-u", "a/a.o")) == ["a"]
    assert declared(plan(top / "models/a", "-u", "b.wasm")) == ["b", "b-wide"]


def test_an_unknown_target_is_told(top: Path) -> None:
    build = plan(top, "d.wasm", status=2)
    assert declared(build) == ALL
    assert "d.wasm" in build.err


def test_a_broken_manifest_is_no_matter_to_other_targets(top: Path) -> None:
    (top / "models/b/model.toml").write_text("schema-version = [")
    assert plan(top, "a.web").status == 0
    assert "models/b/model.toml:1:" in plan(top, "b.wasm", status=2).err


def test_two_models_of_one_name_are_no_matter_to_other_targets(top: Path) -> None:
    place(top / "more/again", "b")
    assert plan(top, "a.web").status == 0
    assert '"b" is the name of another model too' in plan(top, "b.wasm", status=2).err
    assert plan(top, "all").status == 0, "what is built on demand is no part of all"


def test_all_tells_everything_at_once(top: Path) -> None:
    (top / "models/a/model.toml").write_text("schema-version = [")
    (top / "models/a.b/tiny.onnx").unlink()
    place(top / "models/z", "b")
    told = plan(top, "all", status=2).err
    for place_ in ("models/a/model.toml:1:", "there is no file models/a.b/tiny.onnx", '"b" is the name of another'):
        assert place_ in told


@pytest.mark.slow
def test_a_model_that_is_called_anew_is_found(top: Path) -> None:
    """Also by a clock that was put back, so that the manifest is older than it was."""
    manifest = top / "models/a/model.toml"
    plan(top, "a.wasm")
    manifest.write_text(manifest.read_text().replace('"a"', '"d"', 1))
    os.utime(manifest, (1_000_000_000, 1_000_000_000))
    assert declared(plan(top, "d.wasm")) == ["d"]
    assert plan(top, "a.wasm", status=2)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"names: x": 1}', "[" * 100_000])
def test_a_damaged_index_is_made_anew(content: str, top: Path) -> None:
    index = top / "build/manifests.json"
    plan(top, "a.wasm")
    whole = index.read_text()
    index.write_text(content)
    assert declared(plan(top, "a.wasm")) == ["a"]
    assert index.read_text() == whole


def test_a_subdirectory_s_sconscript(top: Path) -> None:
    """Patterns start at the folder of the file that says them."""
    (top / "models/SConscript").write_text('Import("env")\nenv.WasmWorkspace("*/*.toml")\n')
    (top / "SConstruct").write_text(
        SCONSTRUCT.replace(
            "env.WasmWorkspace", 'SConscript("models/SConscript", exports="env")\n0 and env.WasmWorkspace'
        )
    )
    assert declared(plan(top, "a.web")) == ["a"]
    assert declared(plan(top, "all")) == ALL
