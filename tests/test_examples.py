"""The manifests under ``examples/``: pinned, declared only when they are named, and built and told of one by one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import ROOT, copy, place_tiny, scons

from onnx_wasm.manifest import load
from project import examples

EXAMPLES = sorted((ROOT / "examples").glob("*/*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_pinned_and_called_as_its_file(path: Path) -> None:
    its = load(path)
    assert its.model.name == path.stem
    assert its.model.package is not None
    assert its.model.sha256 is not None
    assert its.model.license is not None


def test_examples_are_declared_when_a_target_names_them(built: Path) -> None:
    target = "build/wasi/silero-vad-16k/silero-vad-16k.o"
    assert "examples/" not in scons(built, "-n", "--tree=all", "all").out
    assert f"+-{target}" in scons(built, "-n", "--tree=all", target).out


@pytest.mark.slow
def test_help_lists_the_examples(built: Path) -> None:
    assert "  minilm  " in scons(built, "--help").out


@pytest.mark.slow
def test_what_came_of_an_example_is_told(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = copy(built, tmp_path / "checkout")
    shutil.rmtree(top / "examples")
    shutil.move(top / "models/tiny", top / "examples/tiny")
    manifest = top / "examples/tiny/tiny.toml"
    manifest.write_text(manifest.read_text() + '\n[compile]\nplatforms = ["teaclave"]\n')
    monkeypatch.chdir(top)
    right = examples.build("tiny")
    assert right.failure == ""
    assert right.worst is not None
    assert right.worst < 1e-5
    assert right.megabytes > 0.01
    assert right.peak_megabytes > 10
    place_tiny(top / "examples/tiny")
    manifest.write_text(manifest.read_text() + '\n[compile]\nplatforms = ["teaclave"]\n[verify]\ntolerance = -1\n')
    wrong = examples.build("tiny")
    assert wrong.failure.startswith("examples/tiny/tiny.toml:")
    assert str(wrong).endswith(wrong.failure)
