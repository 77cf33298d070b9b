"""``<model>.verify``: the finished module is held against ONNX's own definition of the model."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from support import copy, scons

from onnx_wasm.actions import verify

AGAINST_ANOTHER_MODEL = """
env = Environment(tools=["onnx_to_wasm"])
made = [f"build/teaclave/tiny/tiny.{suffix}" for suffix in ("wasm", "interface.json")]
env.WasmVerify("wrong.verify.json", [*made, "another.onnx"], MANIFEST="tiny.toml")
"""


def test_a_right_module_is_verified(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    told = scons(folder, "mnist.verify", "tiny.verify")
    assert "sample 1: Plus214_Output_0[0, " in told.out
    for name in ("mnist", "tiny"):
        report = json.loads((folder / f"build/teaclave/{name}/{name}.verify.json").read_text())
        assert [it["sample"] for it in report["outputs"]] == [0, 1]
        assert all(it["share"] < 1e-5 for it in report["outputs"])


def test_the_worst_element_of_a_wrong_module_is_named(built: Path, tmp_path: Path) -> None:
    folder = copy(built, tmp_path / "checkout")
    model = onnx.load(folder / "models/tiny/tiny.onnx")
    weights = model.graph.initializer[0]
    weights.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weights) + 1, weights.name))
    onnx.save(model, folder / "another.onnx")
    told = scons(folder, "wrong.verify.json", sconstruct=AGAINST_ANOTHER_MODEL, status=2)
    assert "sample 0: y[" in told.err
    assert "of the largest); allowed is 0.0001" in told.err
    assert "Traceback" not in told.err
    assert not (folder / "wrong.verify.json").exists()


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
    tensors, files = verify._draw([it], 0)
    with Image.open(io.BytesIO(files["x"])) as picture:
        assert picture.mode == mode
        pixels = np.asarray(picture).reshape(5, 7, channels)
    pixels = pixels[..., ::-1] if color == "bgr" else pixels
    wanted = (pixels.astype("float32") - 10) * 0.5
    np.testing.assert_array_equal(tensors["x"][0], wanted.transpose(2, 0, 1) if layout == "nchw" else wanted)


def test_samples_are_the_same_every_time_and_differ_from_one_another() -> None:
    it = {"name": "x", "argument": "x", "format": "raw", "dtype": "float32", "shape": [4]}
    first, again, second = (verify._draw([it], sample)[1]["x"] for sample in (0, 0, 1))
    assert first == again != second


def test_nan_is_only_right_where_the_reference_has_it() -> None:
    wanted = np.array([1, np.nan, 3], "float32")
    assert verify._worst("y", wanted.copy(), wanted).share == 0
    assert verify._worst("y", np.array([1, 2, np.nan], "float32"), wanted).share == np.inf
