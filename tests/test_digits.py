"""The sample digits through the whole chain: the right digit, and the very scores that ONNX's evaluator gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from PIL import Image
from support import ROOT, copy, edit, model, scons

from onnx_wasm.hosts.teaclave import TeaclaveHost

MODEL = ROOT / "models/mnist"
DIGITS = sorted(path for path in (MODEL / "digits").iterdir() if path.suffix in (".png", ".jpg"))
TOLERANCE = 1e-4


# What the wrapper makes of a picture, given back as it is.
PIXELS = """
schema-version = 1

[model]
name = "pixels"
path = "pixels.onnx"

[[input]]
name = "Input3"
argument = "input_img"
format = "image"
image = { color = "gray", resize = "nearest", scale = 0.00392156862745098 }

[[output]]
name = "pixels"
argument = "output"

[compile]
executor = "aot"
"""


@dataclass(frozen=True)
class Hosts:
    """``mnist.wasm`` and a module that gives back the pixels that ``mnist.wasm`` sees."""

    mnist: TeaclaveHost
    pixels: TeaclaveHost


@pytest.fixture(scope="module", params=["aot", "graph"])
def hosts(request: pytest.FixtureRequest, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    """Both modules with each executor, in Teaclave's stand-in."""
    folder = copy(built, tmp_path_factory.mktemp(request.param) / "checkout")
    (folder / "models/pixels").mkdir()
    (folder / "models/pixels/pixels.toml").write_text(PIXELS)
    shape = ("float32", [1, 1, 28, 28])
    identity = helper.make_node("Identity", ["Input3"], ["pixels"])
    onnx.save(model([identity], {"Input3": shape}, {"pixels": shape}), folder / "models/pixels/pixels.onnx")
    if request.param == "graph":
        for name in ("mnist", "pixels"):
            edit(folder / f"models/{name}/{name}.toml", 'executor = "aot"', 'executor = "graph"')
    scons(folder, "mnist.wasm", "pixels.wasm")
    platform = folder / "build/teaclave"
    return Hosts(*(TeaclaveHost.load(platform / name / f"{name}.wasm") for name in ("mnist", "pixels")))


def output(host: TeaclaveHost, picture: Path, folder: Path) -> tuple[str, np.ndarray]:
    """What a module returns for a picture, and the tensor that it writes."""
    path = folder / "output.npy"
    path.unlink(missing_ok=True)
    result = host.run({"input_img": str(picture), "output": str(path)})
    assert path.exists(), f"{picture}: {result}"
    return str(result), np.load(path)


def pixels(path: Path) -> np.ndarray:
    """What the manifest says becomes of a picture: nearest, gray, from 0 to 1."""
    picture = np.asarray(Image.open(path).convert("RGB"))
    rows, columns = (((np.arange(28) + 0.5) * size / 28).astype(int) for size in picture.shape[:2])
    gray = Image.fromarray(np.ascontiguousarray(picture[rows][:, columns])).convert("L")
    return (np.asarray(gray).astype(np.float32) * np.float32(1 / 255)).reshape(1, 1, 28, 28)


def scores(image: np.ndarray) -> np.ndarray:
    (result,) = ReferenceEvaluator(onnx.load(MODEL / "mnist.onnx")).run(None, {"Input3": image})
    return np.asarray(result)


def test_there_are_digits_of_both_kinds() -> None:
    assert {(path.stem, path.suffix) for path in DIGITS} == {(str(i), s) for i in range(10) for s in (".png", ".jpg")}


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.name)
def test_each_digit_gives_itself_and_the_reference_scores(path: Path, hosts: Hosts, tmp_path: Path) -> None:
    digit, written = output(hosts.mnist, path, tmp_path)
    _, seen = output(hosts.pixels, path, tmp_path)
    assert digit == path.stem
    assert (written.dtype, written.shape) == (np.float32, (1, 10))
    np.testing.assert_allclose(written, scores(seen), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("path", DIGITS, ids=lambda path: path.name)
def test_each_digit_is_read_as_pillow_reads_it(path: Path, hosts: Hosts, tmp_path: Path) -> None:
    """To the last bit if it is a PNG; decoders of JPEG may round apart by a level or two."""
    _, seen = output(hosts.pixels, path, tmp_path)
    levels = 0 if path.suffix == ".png" else 2
    np.testing.assert_allclose(seen, pixels(path), rtol=0, atol=levels / 255 + 1e-7)


def test_the_scores_depend_on_the_scale(hosts: Hosts, tmp_path: Path) -> None:
    """The digit alone would not tell that pixels are divided by 255."""
    path = MODEL / "digits/7.png"
    far = scores(pixels(path) * 255)
    assert int(far.argmax()) == 7
    assert np.abs(output(hosts.mnist, path, tmp_path)[1] - far).max() > 1


def test_an_output_that_no_argument_names_is_not_written(hosts: Hosts, tmp_path: Path) -> None:
    assert hosts.mnist.run({"input_img": str(MODEL / "digits/3.png")}).value == 3
    assert not list(tmp_path.iterdir())


def test_a_coloured_digit_is_greyed_as_pillow_does(hosts: Hosts, tmp_path: Path) -> None:
    shape = np.asarray(Image.open(MODEL / "digits/5.png").convert("L").resize((28, 28)))
    colours = np.stack([shape, shape // 2, 255 - shape // 3], axis=-1)
    path = tmp_path / "colours.png"
    Image.fromarray(colours).save(path)
    np.testing.assert_allclose(output(hosts.pixels, path, tmp_path)[1], pixels(path), rtol=0, atol=1e-7)
    np.testing.assert_allclose(output(hosts.mnist, path, tmp_path)[1], scores(pixels(path)), rtol=0, atol=TOLERANCE)
