"""``<model>.size``: what each byte of a module is for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from support import copy, edit, scons

from onnx_wasm.sizes import KINDS, Item, items, to_text
from onnx_wasm.symbols import Symbols

MODULE = wasmtime.wat2wasm("""
(module
  (memory (export "memory") 1)
  (func (export "run") (result i32) (i32.const 1))
  (func (result i32) (i32.const 2))
  (func (result i32) (i32.const 3))
  (func (result i32) (i32.const 4))
  (data (i32.const 64) "constants, WEIGHTS, constants")
  (data (i32.const 128) "more"))
""")
NAMES = Symbols("", {1: "kernel"}, {0: "run", 2: "<png::Reader as core::fmt::Debug>::fmt", 3: "memcpy"})


@pytest.fixture(scope="module")
def checkout(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(built, tmp_path_factory.mktemp("size") / "checkout")


@pytest.mark.parametrize("platform", ["teaclave", "wasi", "web"])
def test_the_parts_of_a_module_are_all_of_it(checkout: Path, platform: str) -> None:
    told = scons(checkout, f"mnist.{platform}.size").out
    folder = checkout / f"build/{platform}/mnist"
    report: dict[str, Any] = json.loads((folder / "mnist.size.json").read_text())
    data = (folder / "mnist.wasm").read_bytes()
    assert report["sha256"] == hashlib.sha256(data).hexdigest()
    assert report["bytes"] == len(data)
    assert sum(it["bytes"] for it in report["items"]) == len(data)
    assert sum(report["kinds"].values()) == len(data)
    assert list(report["kinds"]) == list(KINDS)
    assert all(it["bytes"] > 0 for it in report["items"])
    assert report["kinds"]["weights"] == (folder / "mnist.params").stat().st_size
    nodes = json.loads((folder / "mnist.graph.json").read_text())["nodes"]
    kernels = {it["attrs"]["func_name"] for it in nodes if it["op"] == "tvm_op"} - {"__nop", "__copy"}
    named = {it["name"] for it in report["items"] if it["kind"] == "kernels"}
    assert named == kernels | {"onnx_wasm_run", "onnx_wasm_prepare"} & named
    assert (report["kinds"]["decoders"] > 50_000) == (platform != "web")
    assert f"{len(data):,}" in told
    assert f"{report['kinds']['kernels']:,}" in told


@pytest.mark.slow
def test_weights_in_a_file_of_their_own_are_no_part_of_the_module(checkout: Path, tmp_path: Path) -> None:
    top = copy(checkout, tmp_path / "checkout")
    edit(top / "models/tiny/tiny.toml", "[[output]]", '[params]\nmode = "file"\n\n[[output]]')
    scons(top, "tiny.size")
    report = json.loads((top / "build/teaclave/tiny/tiny.size.json").read_text())
    assert report["kinds"]["weights"] == 0
    assert sum(report["kinds"].values()) == (top / "build/teaclave/tiny/tiny.wasm").stat().st_size


def test_each_part_has_its_kind() -> None:
    found = items(MODULE, "m.wasm", NAMES, b"WEIGHTS")
    assert sum(it.bytes for it in found) == len(MODULE)
    kinds = {it.name: (it.kind, it.bytes) for it in found}
    body = 5  # the body's size, no locals, i32.const with its number, end
    assert kinds["run"] == ("wrapper", body)
    assert kinds["kernel"] == ("kernels", body)
    assert kinds["<png::Reader as core::fmt::Debug>::fmt"] == ("decoders", body)
    assert kinds["memcpy"] == ("library", body)
    assert kinds["weights"] == ("weights", 7)
    assert kinds["constants"] == ("data", len("constants, , constants") + len("more"))
    assert {kind for kind, _ in kinds.values()} == set(KINDS)
    assert "weights" not in {it.name for it in items(MODULE, "m.wasm", NAMES, b"other weights")}


def test_the_table_adds_up() -> None:
    parts = [Item("kernels", f"k{index}", 100) for index in range(40)] + [Item("binary", "headers", 50)]
    text = to_text("m.wasm", parts)
    assert "4,000  98.8%  kernels" in text
    assert "4,050                   m.wasm" in text
    assert "1,550                  … in 16 more" in text
