"""``python -m onnx_wasm new``: a first manifest, which builds as it stands where nothing is open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support import ROOT, copy, environment, model, scons, tiny

from onnx_wasm import first_manifest
from onnx_wasm.errors import BuildError
from onnx_wasm.manifest import load


def new(path: Path, status: int = 0) -> tuple[str, str]:
    """Runs the command in the model's folder."""
    command = [sys.executable, "-m", "onnx_wasm", "new", path.name]
    environ = environment() | {"PYTHONPATH": str(ROOT / "site_scons")}
    done = subprocess.run(command, cwd=path.parent, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def relu(inputs: dict[str, tuple[str, list[int | str]]]) -> onnx.ModelProto:
    """A model whose outputs are its inputs, without what is below 0."""
    nodes = [helper.make_node("Relu", [name], [f"{name} out"]) for name in inputs]
    return model(nodes, inputs, {f"{name} out": its for name, its in inputs.items()})


@pytest.mark.slow
def test_a_model_with_nothing_open_is_built_and_tested_as_it_stands(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    folder = top / "models/first"
    folder.mkdir()
    onnx.save(tiny(), folder / "first.onnx")
    told, _ = new(folder / "first.onnx")
    assert told == "first.toml: with a test\n"
    assert "models/first/first.toml: drawn: 0  ok" in scons(top, "first.test").out
    its = load(folder / "first.toml")
    assert (its.inputs[0].name, its.outputs[0].name, its.outputs[0].argument) == ("x", "y", "y")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("first.onnx", "first.toml", "first.x.npy", "first.y.npy"),
    ]
    text = (folder / "first.toml").read_text()
    assert 'name = "x" # float32 [1, 4]' in text
    assert "# return" in text


def test_the_first_dimension_is_taken_for_the_number_of_samples(tmp_path: Path) -> None:
    onnx.save(relu({"x": ("float32", ["batch", 4]), "y": ("float32", ["batch"])}), tmp_path / "m.onnx")
    assert first_manifest.write(tmp_path / "m.onnx").test
    its = load(tmp_path / "m.toml")
    assert its.dimensions == {"batch": 1}
    assert np.load(tmp_path / "m.x.npy").shape == (1, 4)
    np.testing.assert_array_equal(np.load(tmp_path / "m.x_out.npy"), np.maximum(np.load(tmp_path / "m.x.npy"), 0))


def test_dimensions_that_only_the_user_knows_are_asked_for(tmp_path: Path) -> None:
    inputs: dict[str, tuple[str, list[int | str]]] = {"x": ("float32", ["batch", 3, "height", "width"])}
    onnx.save(relu(inputs), tmp_path / "m.onnx")
    told, _ = new(tmp_path / "m.onnx")
    assert told == "m.toml\nsay in it how large these are: height, width\n"
    text = (tmp_path / "m.toml").read_text()
    assert '"batch" = 1 # a guess: one at a time\n# "height" = …   # say how large it is\n# "width" = …' in text
    assert '# format = "image"' in text
    assert not load(tmp_path / "m.toml").tests


def test_a_batch_is_one_wherever_it_stands(tmp_path: Path) -> None:
    onnx.save(relu({"x": ("float32", ["batch", 4]), "y": ("float32", [2, "batch"])}), tmp_path / "m.onnx")
    assert first_manifest.write(tmp_path / "m.onnx").test
    assert load(tmp_path / "m.toml").dimensions == {"batch": 1}


def test_a_question_mark_is_no_name(tmp_path: Path) -> None:
    onnx.save(relu({"x": ("float32", ["?", 4]), "y": ("float32", [2, "?"])}), tmp_path / "m.onnx")
    assert first_manifest.write(tmp_path / "m.onnx").open == ["y"]
    its = load(tmp_path / "m.toml")
    assert (its.dimensions, its.inputs[0].shape) == ({}, (1, 4))


def test_onnxruntime_says_what_onnx_s_evaluator_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(_: object) -> dict[str, np.ndarray]:
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(first_manifest.reference, "_reference", lambda _: stops)
    onnx.save(tiny(), tmp_path / "m.onnx")
    assert first_manifest.write(tmp_path / "m.onnx").test
    assert load(tmp_path / "m.toml").verify.reference == "onnxruntime"
    assert "# ONNX's own stops: first line\n" in (tmp_path / "m.toml").read_text()


def test_dimensions_without_a_name_are_given_as_shapes(tmp_path: Path) -> None:
    its = relu({"x": ("float32", ["a", 4]), "y": ("int64", ["a", "a"])})
    for value in its.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.ClearField("dim_param")
    onnx.save(its, tmp_path / "m.onnx")
    assert first_manifest.write(tmp_path / "m.onnx").open == ["y"]
    x, _ = load(tmp_path / "m.toml").inputs
    assert x.shape == (1, 4)
    assert "# shape = [1, …]   # say how large it is\n# range = [0, 9]" in (tmp_path / "m.toml").read_text()


@pytest.mark.slow
def test_what_stands_in_the_way_is_written_and_told(tmp_path: Path) -> None:
    its = model([helper.make_node("StringNormalizer", ["x"], ["y"])], {"x": ("float32", [1])}, {"y": ("float32", [1])})
    for value in (*its.graph.input, *its.graph.output):
        value.type.tensor_type.elem_type = TensorProto.STRING
    onnx.save(its, tmp_path / "m.onnx")
    told, _ = new(tmp_path / "m.onnx")
    assert told.startswith("m.toml\nthis stands in the way: ")
    assert "StringNormalizer" in told or "no tensor of numbers" in told
    assert "# This stands in the way of a build:\n#   " in (tmp_path / "m.toml").read_text()
    load(tmp_path / "m.toml")


def test_names_of_any_kind_are_written_right(tmp_path: Path) -> None:
    names = ['a "quoted"\nname', "ünï\x7f", "a b", "a:b", "1", "#"]
    onnx.save(relu({name: ("float32", [2]) for name in names}), tmp_path / "our model.v1.wasm.onnx")
    assert first_manifest.write(tmp_path / "our model.v1.wasm.onnx").test
    its = load(tmp_path / "our-model.v1.toml")
    assert [it.name for it in its.inputs] == names
    assert len({it.argument for it in (*its.inputs, *its.outputs)}) == 12


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    onnx.save(tiny(), tmp_path / "m.onnx")
    (tmp_path / "m.toml").write_text("mine")
    (tmp_path / "m.y.npy").write_text("mine too")
    _, told = new(tmp_path / "m.onnx", status=2)
    hint = "\n    move it away to have another written\n"
    assert told == f"m.toml: is there already{hint}m.y.npy: is there already{hint}"
    assert (tmp_path / "m.toml").read_text() == "mine"
    assert not (tmp_path / "m.x.npy").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [(None, "cannot be read: No such file"), (b"text", "not an ONNX file"), (b"", "not an ONNX model")],
)
def test_what_is_no_model_is_refused(tmp_path: Path, data: bytes | None, message: str) -> None:
    if data is not None:
        (tmp_path / "m.onnx").write_bytes(data)
    _, told = new(tmp_path / "m.onnx", status=2)
    assert told.startswith(f"m.onnx: {message}")
    assert not (tmp_path / "m.toml").exists()


def test_a_file_that_no_manifest_can_name_is_refused(tmp_path: Path) -> None:
    onnx.save(tiny(), tmp_path / "a$b.onnx")
    with pytest.raises(BuildError, match="a manifest cannot name this file"):
        first_manifest.write(tmp_path / "a$b.onnx")
