"""``<model>.profile``: every kernel of a model, measured in the runtime of each platform."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from support import copy, model, scons

from onnx_wasm.profile.calls import Call, calls_of

FIRST_PRODUCTS = 28 * 28 * 8 * 25  # of mnist's first convolution: 5×5 on 28×28, eight channels


@pytest.fixture(scope="module")
def checkout(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy(built, tmp_path_factory.mktemp("profile") / "checkout")


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "unit"), [("teaclave", "instructions"), ("wasi", "seconds"), ("web", "seconds")])
def test_every_kernel_is_measured_in_its_platform_s_runtime(checkout: Path, platform: str, unit: str) -> None:
    told = scons(checkout, f"mnist.{platform}.profile")
    folder = checkout / f"build/{platform}/mnist"
    report: dict[str, Any] = json.loads((folder / "mnist.profile.json").read_text())
    assert report["unit"] == unit
    assert report["calls"]
    assert all(call["taken"] > 0 and call["rule"] for call in report["calls"])
    assert report["unscheduled"] == []
    assert sum(call["taken"] for call in report["calls"]) == pytest.approx(report["total"])
    first = next(call for call in report["calls"] if call["flops"])
    assert 2 * FIRST_PRODUCTS <= first["flops"] < 2.1 * FIRST_PRODUCTS
    ceilings = report["ceilings"]
    assert (ceilings is not None) == (unit == "seconds")
    if ceilings:
        assert ceilings["flops"] > 1e8
        assert ceilings["cache"] > ceilings["memory"] > 1e8
    for call in report["calls"]:
        assert call["kernel"] in told.out
    assert f"mnist on {platform}: " in told.out


@pytest.mark.slow
def test_the_page_asks_for_nothing_else(checkout: Path) -> None:
    scons(checkout, "mnist.web.profile")
    page = (checkout / "build/web/mnist/mnist.profile.html").read_text()
    assert not re.search(r"https?:|url\(|<script|<link|\$", page)
    kernels = {call.kernel for call in calls(checkout / "build/web/mnist/mnist.graph.json")}
    assert all(kernel in page for kernel in kernels)
    assert page.count("<svg") == 2


@pytest.mark.slow
def test_what_no_rule_scheduled_is_told_by_name(checkout: Path) -> None:
    """A rule that took a kernel, but left a part of it as it stood, is no excuse."""
    folder = checkout / "models/odd"
    folder.mkdir()
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], axes=[1]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    types: dict[str, tuple[str, list[int | str]]] = {"most": ("float32", [3, 1]), "y": ("float32", [3, 4])}
    onnx.save(
        model(nodes, {"x": ("float32", [3, 5])}, types, {"w": np.eye(5, 4, dtype="float32")}), folder / "odd.onnx"
    )
    text = 'schema-version = 1\n[model]\nname = "odd"\npath = "odd.onnx"\n[compile]\nplatforms = ["wasi"]\n'
    (folder / "odd.toml").write_text(text)
    told = scons(checkout, "odd.wasi.profile").out
    report = json.loads((checkout / "build/wasi/odd/odd.profile.json").read_text())
    (left,) = (call for call in report["calls"] if call["left"])
    assert left["rule"] == "reduction"
    assert report["unscheduled"] == [left["kernel"]]
    line = f"not scheduled: {left['kernel']} ({', '.join(left['left'])})"
    assert line in told.splitlines()
    assert line in (checkout / "build/wasi/odd/odd.profile.html").read_text()
    rows = {row.split()[-1]: row for row in told.splitlines() if " gemm " in row or " not scheduled " in row}
    assert set(rows) == {call["kernel"] for call in report["calls"]}
    assert " not scheduled " in rows[left["kernel"]]


@pytest.mark.slow
def test_a_profile_is_made_anew_whenever_it_is_asked_for(checkout: Path) -> None:
    for _ in range(2):
        assert "WasmProfile build/wasi/mnist/mnist.profile.json" in scons(checkout, "mnist.wasi.profile").out


def calls(graph: Path) -> list[Call]:
    return calls_of(json.loads(graph.read_text()))


def test_a_call_follows_those_that_wrote_what_it_reads() -> None:
    """Through copies and views too."""

    def node(name: str, *inputs: list[int], flops: str = "0") -> dict[str, Any]:
        return {"op": "tvm_op", "name": f"{name}_0", "attrs": {"func_name": name, "flops": flops}, "inputs": inputs}

    graph = {
        "nodes": [
            {"op": "null", "name": "x", "inputs": []},
            node("a", [0, 0, 0], flops="8"),
            node("__nop", [1, 0, 0]),
            node("b", [2, 0, 0], [0, 0, 0]),
        ],
        "node_row_ptr": [0, 1, 2, 3, 4],
        "attrs": {
            "dltype": ["list_str", ["float32"] * 4],
            "shape": ["list_shape", [[2], [2], [1, 2], [2]]],
            "storage_kind": ["list_str", ["inputs", "workspace", "workspace", "outputs"]],
            "storage_offset": ["list_int", [0, 64, 64, 0]],
        },
    }
    first, second = calls_of(graph)
    assert (first.kernel, first.flops, first.bytes, first.follows) == ("a", 8, 16, ())
    assert (second.kernel, second.bytes, second.follows) == ("b", 24, (0,))
    assert second.places == (("workspace", 64), ("inputs", 0), ("outputs", 0))
