"""Bad pictures and tensors, on every platform: a code or an Error that says why, and the module works as before."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from support import ROOT
from web import node

from onnx_wasm.benchmarks.fuzz_platforms import (
    HOSTS,
    Host,
    Subject,
    fuzz,
    fuzz_web,
    loaded,
    mutated_picture,
    mutated_tensor,
)
from onnx_wasm.status import statuses

DIGITS = ROOT / "models/mnist/digits"
MEMORY = 400 << 20
CODES = {it.name: it.code for it in statuses().values()}


def jpeg(side: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (side, side)).save(file, "JPEG", quality=1)
    return file.getvalue()


def picture_of(platform: str, built: Path) -> Host:
    return loaded(platform, built / f"build/{platform}/mnist/mnist.wasm")


@pytest.mark.parametrize("platform", HOSTS)
def test_each_bad_picture_has_its_code(built: Path, tmp_path: Path, platform: str) -> None:
    host, digit = picture_of(platform, built), (DIGITS / "7.png").read_bytes()
    bad = {
        "UnknownImage": b"this is no picture",
        "BrokenImage": digit[: len(digit) // 2],
        "ImageTooLarge": jpeg(10_000),
    }
    file = tmp_path / "picture"
    for name, data in bad.items():
        file.write_bytes(data)
        assert host.run({"input_img": str(file)}, memory_limit=MEMORY).value == CODES[name]
        assert host.run({"input_img": str(DIGITS / "7.png")}, memory_limit=MEMORY).value == 7


def test_in_javascript_each_is_an_error_with_the_reason(built: Path) -> None:
    script = """
        import { load } from "./mnist.js";
        const model = await load();
        const told = [];
        const attempt = (Input3) => {
          try {
            told.push(String(model.run({ Input3 }).Plus214_Output_0[0]));
          } catch (error) {
            told.push(error.message);
          }
        };
        const zeros = () => attempt(new Float32Array(784));
        zeros();
        attempt(new Float32Array(783));
        attempt("text");
        attempt(null);
        attempt({ width: 65536, height: 65536, data: new Uint8Array(64) });
        attempt(new Float32Array(784).fill(NaN));
        zeros();
        tell(told);
    """
    before, *refused, with_nan, after = node(script, built / "build/web/mnist/mnist.web")
    assert all("Input3" in reason for reason in refused), refused
    assert "Input3" not in with_nan
    assert before == after


@pytest.mark.parametrize("platform", HOSTS)
def test_mutated_pictures_never_trap(built: Path, platform: str) -> None:
    digits = [path.read_bytes() for path in sorted(DIGITS.glob("*.[jp][pn]g"))]
    subject = Subject(picture_of(platform, built), "input_img", lambda it: mutated_picture(it, digits))
    found = fuzz(platform, [subject], MEMORY, 200, 0)
    assert found.failures == []
    assert found.results["accepted"]
    assert found.results["BrokenImage"]


def test_mutated_tensors_never_trap(built: Path) -> None:
    host = loaded("teaclave", built / "build/teaclave/tiny/tiny.wasm")
    found = fuzz("teaclave", [Subject(host, "x", mutated_tensor)], MEMORY, 300, 0)
    assert found.failures == []
    assert found.results["NpyShape"]


def test_mutated_arrays_and_pixels_never_trap_in_javascript(built: Path) -> None:
    found = fuzz_web(built / "build/web/mnist/mnist.web", 400, 0)
    assert found.failures == []
    assert found.memory <= found.bound
    assert found.results["accepted"]
    assert found.results["TypeError"]
