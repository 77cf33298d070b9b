"""Two builds of the same sources give the same bytes, wherever, whenever, by whomever."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import artefacts, checkout, commit, copy, scons

from onnx_wasm.benchmarks.reproducible import compare


def with_a_second_model(folder: Path) -> Path:
    """The same model with the other executor: steps run side by side, and both kinds are compared."""
    other = copy(folder / "models/mnist", folder / "models/other")
    manifest = other / "mnist.toml"
    text = manifest.read_text().replace('name = "mnist"', 'name = "other"').replace('"aot"', '"graph"')
    manifest.unlink()
    (other / "other.toml").write_text(text)
    return folder


@pytest.mark.slow
def test_two_builds_give_the_same_bytes(tmp_path: Path) -> None:
    """Another user on another machine at another time, elsewhere: no artefact differs, and none holds their names."""
    top = with_a_second_model(checkout(tmp_path / "source"))
    (top / ".gitignore").write_text("__pycache__/\n")
    commit(top)
    outcome = compare(top, ["all"], 2)
    files = {name.removeprefix("build/") for name in outcome.artefacts}
    packages = {name for name in files if ".web/" in name}
    assert {f"web/{model}/{model}.web/{model}.js" for model in ("mnist", "other")} <= packages
    assert sorted(files - packages) == sorted(
        f"{platform}/{name}"
        for platform, images in (("teaclave", "image"), ("wasi", "image"), ("web", "pixels"))
        for name in (
            *(f"{model}/{name}" for model in ("mnist", "other") for name in made_of(model)),
            *(f"wrapper-{images}{executor}/libwrapper.a" for executor in ("", "-graph")),
        )
    )
    assert (outcome.differences, outcome.named) == ((), ())


def made_of(model: str) -> list[str]:
    """The files that are made of a model."""
    ends = ("graph.json", "interface.json", "ir.json", "o", "params", "symbols.json", "wasm", "weights.safetensors")
    return [f"lib{model}.a", *(f"{model}.{end}" for end in ends)]


@pytest.mark.slow
def test_a_build_does_not_depend_on_what_was_built_before(built: Path, tmp_path: Path) -> None:
    """One model alone gives the bytes that it has among others."""
    alone = checkout(tmp_path / "alone")
    scons(alone, "build/teaclave/mnist/libmnist.a")
    files = artefacts(alone / "build")
    assert len(files) == 7
    assert {name: data for name, data in artefacts(built / "build").items() if name in files} == files
