"""Kernels that differ only in numbers share one function, and compute what they did."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import toolchain, wasm
from onnx_wasm.benchmarks.bare_module import Laboratory, compiled

RANDOM = np.random.default_rng(0)
ROWS, GROWTH = 7, 4


@pytest.fixture(scope="module")
def wrapper(built: Path) -> Path:
    return built / "build/teaclave/wrapper/libwrapper.a"


def layers(count: int) -> onnx.ModelProto:
    """Products whose rows grow from layer to layer, as in a DenseNet."""
    nodes, weights = [], {}
    for index in range(count):
        width = GROWTH * (index + 1)
        weights[f"w{index}"] = RANDOM.standard_normal((width, GROWTH)).astype("float32") / width
        nodes += [
            helper.make_node("MatMul", [f"x{index}", f"w{index}"], [f"xw{index}"]),
            helper.make_node("Relu", [f"xw{index}"], [f"y{index}"]),
            helper.make_node("Concat", [f"x{index}", f"y{index}"], [f"x{index + 1}"], axis=1),
        ]
    shape: list[int | str] = [ROWS, GROWTH * (count + 1)]
    return model(nodes, {"x0": ("float32", [ROWS, GROWTH])}, {f"x{count}": ("float32", shape)}, weights)


def functions(proto: onnx.ModelProto, wrapper: Path, folder: Path) -> list[str]:
    """Runs a model against ONNX's definition of it, and gives the names of the functions that it is linked from."""
    onnx.save(proto, folder / "model.onnx")
    made = compiled(folder / "model.onnx", folder, "model")
    x = RANDOM.standard_normal((ROWS, GROWTH)).astype("float32")
    (found,) = Laboratory(toolchain.find().linker.command, wrapper).run(made, {"x0": x})
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x0": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    return [it.name for it in wasm.read((folder / "model.wasm").read_bytes(), "").functions]


def test_many_kernels_of_one_form_are_one_function(wrapper: Path, tmp_path: Path) -> None:
    names = functions(layers(18), wrapper, tmp_path)
    assert len([it for it in names if re.fullmatch(r"fused_dense\d*_relu_shared", it)]) == 1
    assert len([it for it in names if "dense" in it]) == 1
    assert len([it for it in names if it.startswith("concatenate")]) < 4


def test_a_few_products_know_their_numbers(wrapper: Path, tmp_path: Path) -> None:
    """They are quicker so."""
    names = functions(layers(3), wrapper, tmp_path)
    assert len([it for it in names if "dense" in it]) == 3
    assert not any("shared" in it for it in names if "dense" in it)


def test_each_kernel_can_be_called_by_its_own_name(wrapper: Path, tmp_path: Path) -> None:
    """As a profile calls it."""
    functions(layers(18), wrapper, tmp_path)
    nodes = json.loads((tmp_path / "model.graph.json").read_text())["nodes"]
    kernels = {it["attrs"]["func_name"] for it in nodes if it["op"] == "tvm_op"} - {"__nop", "__copy"}
    assert len(kernels) > 30
    words = [*(f"--export={it}" for it in kernels), "--no-entry", str(tmp_path / "model.o"), str(wrapper)]
    module = tmp_path / "kernels.wasm"
    subprocess.run([*toolchain.find().linker.command, *words, "-o", str(module)], check=True)
    assert kernels <= {it.name for it in wasm.read(module.read_bytes(), "").exports}


def test_the_same_model_shares_in_the_same_way(tmp_path: Path) -> None:
    onnx.save(layers(18), tmp_path / "model.onnx")
    objects = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        objects.add(compiled(tmp_path / "model.onnx", tmp_path / name, "model").object.read_bytes())
    assert len(objects) == 1
