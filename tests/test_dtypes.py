"""Every dtype, as vectors and as scalars, through one model on every platform: in by files or arrays, and out again."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support import copy, model, scons

from onnx_wasm.interface import DTYPES
from onnx_wasm.verification import samples

MANIFEST = """\
schema-version = 1

[model]
name = "all"
path = "all.onnx"

[compile]
platforms = ["teaclave", "wasi", "web"]
"""
PROGRAM = """
import {{ load, inputs }} from "./{name}.js";
import {{ readFileSync }} from "node:fs";
const given = JSON.parse(readFileSync(0, "utf8"));
const arrays = {{
  float32: Float32Array, float64: Float64Array, float16: Uint16Array, int8: Int8Array, int16: Int16Array,
  int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array,
  uint64: BigUint64Array, bool: Uint8Array,
}};
const bytes = (text) => new Uint8Array(Buffer.from(text, "hex")).buffer;
const m = await load();
const taken = Object.fromEntries(inputs.map((it) => [it.name, new arrays[it.dtype](bytes(given[it.name]))]));
const made = m.run(taken);
const hex = (it) => Buffer.from(it.buffer, it.byteOffset, it.byteLength).toString("hex");
console.log(JSON.stringify(Object.fromEntries(Object.entries(made).map(([name, it]) => [name, hex(it)]))));
"""


def of_every_dtype() -> onnx.ModelProto:
    """For each dtype a choice, element by element, between a vector and a scalar, and the scalar itself."""
    nodes = []
    inputs: dict[str, tuple[str, list[int | str]]] = {"which": ("bool", [3])}
    outputs: dict[str, tuple[str, list[int | str]]] = {}
    for dtype in DTYPES:
        operator = "Xor" if dtype == "bool" else "Where"
        taken = [f"{dtype}_vector", f"{dtype}_scalar"]
        nodes.append(helper.make_node(operator, taken if dtype == "bool" else ["which", *taken], [f"{dtype}_chosen"]))
        nodes.append(helper.make_node("Identity", [taken[1]], [f"{dtype}_same"]))
        inputs |= {taken[0]: (dtype, [3]), taken[1]: (dtype, [])}
        outputs |= {f"{dtype}_chosen": (dtype, [3]), f"{dtype}_same": (dtype, [])}
    return model(nodes, inputs, outputs)


@pytest.fixture(scope="module")
def top(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which the model is built for all platforms, and verified on those with a host."""
    folder = copy(built, tmp_path_factory.mktemp("dtypes") / "checkout")
    (folder / "models/all").mkdir()
    onnx.save(of_every_dtype(), folder / "models/all/all.onnx")
    (folder / "models/all/all.toml").write_text(MANIFEST)
    scons(folder, "all.verify", "all.web")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["teaclave", "wasi"])
def test_files_of_every_dtype_go_in_and_out(top: Path, platform: str) -> None:
    report = json.loads((top / f"build/{platform}/all/all.verify.json").read_text())
    assert {(it["output"], it["share"]) for it in report["outputs"]} == {
        (f"{dtype}_{which}", 0) for dtype in DTYPES for which in ("chosen", "same")
    }


def test_arrays_of_every_dtype_go_in_and_out(top: Path) -> None:
    node = shutil.which("node")
    assert node is not None
    described = json.loads((top / "build/web/all/all.interface.json").read_text())
    sample = samples.drawn(described["inputs"], {}, 0)
    given = json.dumps({name: tensor.tobytes().hex() for name, tensor in sample.tensors.items()})
    folder = top / "build/web/all/all.web"
    command = [node, "--input-type=module", "-e", PROGRAM.format(name="all")]
    done = subprocess.run(command, cwd=folder, input=given, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    for dtype in DTYPES:
        vector, scalar = (sample.tensors[f"{dtype}_{which}"] for which in ("vector", "scalar"))
        chosen = vector ^ scalar if dtype == "bool" else np.where(sample.tensors["which"], vector, scalar)
        assert made[f"{dtype}_chosen"] == chosen.astype(dtype).tobytes().hex()
        assert made[f"{dtype}_same"] == scalar.tobytes().hex()
