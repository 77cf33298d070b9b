"""``<model>.verify``: the finished module is held against ONNX's own definition of the model."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image
from support import copy, model, scons

from onnx_wasm.errors import BuildError
from onnx_wasm.verification import comparison, reference, samples

AGAINST_ANOTHER_MODEL = """
env = Environment(tools=["onnx_to_wasm"])
made = [f"build/teaclave/tiny/tiny.{suffix}" for suffix in ("wasm", "interface.json")]
env.WasmVerify("wrong.verify.json", [*made, "another.onnx"], MANIFEST="tiny.toml")
"""


@pytest.mark.slow
def test_a_right_module_is_verified(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    told = scons(folder, "mnist.verify", "tiny.verify")
    assert "sample 1: Plus214_Output_0[0, " in told.out
    for name in ("mnist", "tiny"):
        report = json.loads((folder / f"build/teaclave/{name}/{name}.verify.json").read_text())
        assert [it["sample"] for it in report["outputs"]] == ["sample 0", "sample 1"]
        assert all(it["share"] < 1e-5 for it in report["outputs"])
        assert report["reference"] == "onnx"


def test_the_worst_element_of_a_wrong_module_is_named(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    another = onnx.load(folder / "models/tiny/tiny.onnx")
    weights = another.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + 1, weights.name))
    onnx.save(another, folder / "another.onnx")
    told = scons(folder, "wrong.verify.json", sconstruct=AGAINST_ANOTHER_MODEL, status=2)
    assert "sample 0: y[" in told.err
    assert "of the largest); allowed is 0.0001" in told.err
    assert "Traceback" not in told.err
    assert not (folder / "wrong.verify.json").exists()


@pytest.mark.slow
def test_a_manifest_can_ask_for_more(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    manifest = folder / "models/mnist/mnist.toml"
    manifest.write_text(manifest.read_text() + "\n[verify]\nsamples = 1\ntolerance = 1e-9\n")
    line = len(manifest.read_text().splitlines()) - 2
    told = scons(folder, "mnist.verify", status=2)
    assert f"models/mnist/mnist.toml:{line}: sample 0: " in told.err
    assert "sample 1" not in told.out + told.err


@pytest.mark.parametrize(("color", "mode"), [("gray", "L"), ("rgb", "RGB"), ("bgr", "RGB")])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_a_drawn_picture_becomes_the_drawn_tensor(color: str, mode: str, layout: str) -> None:
    channels = len(mode)
    shape = [1, channels, 5, 7] if layout == "nchw" else [1, 5, 7, channels]
    image = {"color": color, "layout": layout, "scale": [0.5] * channels, "mean": [10.0] * channels}
    it = {"name": "x", "argument": "x", "format": "image", "dtype": "float32", "shape": shape, "image": image}
    drawn = samples.drawn([it], {}, 0)
    with Image.open(io.BytesIO(drawn.files["x"])) as picture:
        assert picture.mode == mode
        pixels = np.asarray(picture).reshape(5, 7, channels)
    pixels = pixels[..., ::-1] if color == "bgr" else pixels
    wanted = (pixels.astype("float32") - 10) * 0.5
    np.testing.assert_array_equal(drawn.tensors["x"][0], wanted.transpose(2, 0, 1) if layout == "nchw" else wanted)


def test_samples_are_the_same_every_time_and_differ_from_one_another() -> None:
    it = {"name": "x", "argument": "x", "format": "raw", "dtype": "float32", "shape": [4]}
    first, again, second = (samples.drawn([it], {}, sample).files["x"] for sample in (0, 0, 1))
    assert first == again != second


def test_nan_is_only_right_where_the_reference_has_it() -> None:
    wanted = np.array([1, np.nan, 3], "float32")
    assert comparison.worst("y", wanted.copy(), wanted).share == 0
    assert comparison.worst("y", np.array([1, 2, np.nan], "float32"), wanted).share == np.inf


def test_neighbours_among_large_integers_differ() -> None:
    wanted = np.array([2**62, 1], "int64")
    assert comparison.worst("y", wanted + np.array([1, 0]), wanted).share > 0
    with pytest.raises(ValueError, match=r"y is int64\[2\], not int32\[2\]"):
        comparison.worst("y", wanted, wanted.astype("int32"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool", "float64"])
def test_inputs_are_drawn_from_their_range(dtype: str) -> None:
    it = {"name": "x", "argument": "x", "format": "npy", "dtype": dtype, "shape": [1000]}
    drawn = samples.drawn([it], {"x": (0, 1)}, 0).tensors["x"]
    assert drawn.dtype == dtype
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert len(np.unique(drawn)) == (2 if np.dtype(dtype).kind in "iub" else len(np.unique(drawn)))
    assert len(np.unique(drawn)) > 1


TOKENS = """\
schema-version = 1

[model]
name = "tokens"
path = "tokens.onnx"

[[input]]
name = "ids"
{range}

[[output]]
name = "y"
argument = "y"

[[test]]
name = "the last"
inputs = {{ ids = "last.npy" }}
outputs = {{ y = "y.npy" }}
"""


def place_tokens(folder: Path, range_: str) -> None:
    """A model that looks up rows of a table of 5, and a test of it."""
    folder.mkdir(parents=True)
    table = np.arange(10, dtype="float32").reshape(5, 2)
    nodes = [helper.make_node("Gather", ["table", "ids"], ["y"])]
    its = model(nodes, {"ids": ("int64", [3])}, {"y": ("float32", [3, 2])}, {"table": table})
    onnx.save(its, folder / "tokens.onnx")
    np.save(folder / "last.npy", np.array([4, 4, 4]))
    np.save(folder / "y.npy", table[[4, 4, 4]])
    (folder / "tokens.toml").write_text(TOKENS.format(range=range_))


@pytest.mark.slow
def test_a_range_keeps_indices_in_bounds_and_tests_are_verified_too(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    place_tokens(folder / "models/tokens", "range = [0, 4]")
    told = scons(folder, "tokens.verify")
    assert "teaclave, test the last: y[0, 0] is 8, not 8 (0.0e+00 of the largest)" in told.out


@pytest.mark.slow
def test_inputs_that_the_reference_does_not_take_are_told(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    place_tokens(folder / "models/tokens", "range = [7, 9]")
    told = scons(folder, "tokens.verify", status=2)
    assert "sample 0: onnx failed: " in told.err
    assert "give the inputs that it takes: [[input]] range = […]" in told.err


RATES = """\
schema-version = 1

[model]
name = "rates"
path = "rates.onnx"

[[input]]
name = "rate"
value = 16000

[[output]]
name = "y"
argument = "y"

[[test]]
inputs = { x = "one.npy" }
outputs = { y = "two.npy" }
"""


@pytest.mark.slow
def test_an_input_with_a_value_is_not_taken(built: Path, tmp_path: Path) -> None:
    top = copy(built, tmp_path / "checkout")
    folder = top / "models/rates"
    folder.mkdir()
    weights = {"rate of 2": np.array(16000), "two": np.array([2], "float32"), "three": np.array([3], "float32")}
    nodes = [
        helper.make_node("Equal", ["rate", "rate of 2"], ["is"]),
        helper.make_node("Where", ["is", "two", "three"], ["factor"]),
        helper.make_node("Mul", ["x", "factor"], ["y"]),
    ]
    inputs: dict[str, tuple[str, list[int | str]]] = {"x": ("float32", [1]), "rate": ("int64", [])}
    onnx.save(model(nodes, inputs, {"y": ("float32", [1])}, weights), folder / "rates.onnx")
    np.save(folder / "one.npy", np.ones(1, "float32"))
    np.save(folder / "two.npy", np.full(1, 2, "float32"))
    (folder / "rates.toml").write_text(RATES)
    scons(top, "rates.test", "rates.verify")
    described = json.loads((top / "build/teaclave/rates/rates.interface.json").read_text())
    assert [it["name"] for it in described["inputs"]] == ["x"]
    (folder / "rates.toml").write_text(RATES.replace("16000", "0.5"))
    told = scons(top, "rates.wasm", status=2)
    assert 'models/rates/rates.toml:9: input "rate" is int64' in told.err


# What says how it should be


def heavy(path: Path) -> Path:
    """A model of more than a million weights."""
    weights = {"w": np.ones((1001, 1000), "float32")}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    onnx.save(model(nodes, {"x": ("float32", [1, 1001])}, {"y": ("float32", [1, 1000])}, weights), path)
    return path


def test_onnxruntime_is_the_reference_of_large_models(tmp_path: Path) -> None:
    path = heavy(tmp_path / "m.onnx")
    for asked, name in ((None, "onnxruntime"), ("onnx", "onnx"), ("onnxruntime", "onnxruntime")):
        chosen, evaluate = reference.evaluator(path, asked, "its.toml")
        assert chosen == name
        np.testing.assert_array_equal(evaluate({"x": np.ones((1, 1001), "float32")})["y"], np.full((1, 1000), 1001))


def test_onnxruntime_is_the_reference_of_models_that_onnx_has_no_definition_for(tmp_path: Path) -> None:
    its = model(
        [helper.make_node("FastGelu", ["x"], ["y"], domain="com.microsoft")],
        {"x": ("float32", [1])}, {"y": ("float32", [1])},
    )  # fmt: skip
    its.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(its, tmp_path / "m.onnx")
    assert reference.evaluator(tmp_path / "m.onnx", None, "its.toml")[0] == "onnxruntime"


def test_onnxruntime_is_the_reference_of_batches_that_onnx_would_normalise_as_in_training(tmp_path: Path) -> None:
    names = ["scale", "bias", "mean", "variance"]
    weights = {name: np.full(1, value, "float32") for name, value in zip(names, (1, 0, 3, 4), strict=True)}
    nodes = [helper.make_node("BatchNormalization", ["x", *names], ["y"], epsilon=0.0)]
    described: tuple[str, list[int | str]] = ("float32", [1, 1, 2])
    for opset, name in ((9, "onnxruntime"), (15, "onnx")):
        onnx.save(model(nodes, {"x": described}, {"y": described}, weights, opset), tmp_path / "m.onnx")
        chosen, evaluate = reference.evaluator(tmp_path / "m.onnx", None, "its.toml")
        assert chosen == name
        np.testing.assert_allclose(evaluate({"x": np.array([[[5, 7]]], "float32")})["y"], [[[1, 2]]])


def test_without_onnxruntime_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(BuildError) as error:
        reference.evaluator(heavy(tmp_path / "m.onnx"), None, "its.toml")
    assert str(error.value) == (
        "its.toml: onnxruntime is needed to verify the model, and is not installed: the model has 1,001,000 weights\n"
        "    pip install 'onnx-wasm[verify]', or say in the manifest: [verify] reference = \"onnx\""
    )


def test_an_input_with_a_value_is_what_the_file_says_of_it(tmp_path: Path) -> None:
    inputs = {"x": ("float32", [2]), "rate": ("int64", []), "state": ("float16", ["n", 3])}
    its = model([helper.make_node("Relu", ["x"], ["y"])], inputs, {"y": ("float32", [2])})
    onnx.save(its, tmp_path / "m.onnx")
    made = reference.constants(tmp_path / "m.onnx", {"rate": 16000, "state": 0}, {}, {"n": 2})
    assert made["rate"] == 16000
    assert made["rate"].dtype == "int64"
    assert made["state"].shape == (2, 3)
    assert made["state"].dtype == "float16"
