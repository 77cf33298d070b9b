"""What depends on weights alone, in instances that stay: computed before the first run, kept for the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from support import copy, model, scons
from web import node

from onnx_wasm.compiler import pipeline
from onnx_wasm.platforms import PLATFORMS, Platform

F = "float32"
SHAPE, OUT = [1, 16, 15, 17], [1, 24, 15, 17]
MANIFEST = """\
schema-version = 1

[model]
name = "windows"
path = "windows.onnx"

[compile]
platforms = ["web"]

[params]
mode = "{mode}"
"""


def windows() -> onnx.ModelProto:
    """Two convolutions whose weights are transformed: of 3×3 and of 5×5 windows."""
    random = np.random.default_rng(0)
    weights = {
        "w3": random.standard_normal((20, 16, 3, 3), np.float32) / 12,
        "w5": random.standard_normal((24, 20, 5, 5), np.float32) / 22,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w3"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "w5"], ["y"], pads=[2, 2, 2, 2]),
    ]
    return model(nodes, {"x": (F, SHAPE)}, {"y": (F, OUT)}, weights)


def graph_of(platform: Platform, folder: Path) -> dict[str, Any]:
    """The graph that the model is compiled to."""
    onnx.save(windows(), folder / "windows.onnx")
    ir, weights = folder / "ir.json", folder / "weights.safetensors"
    pipeline.to_ir(folder / "windows.onnx", pipeline.Freeze({}, {}), "windows", ir, weights)
    files = pipeline.ObjectFiles(*(folder / name for name in ("windows.o", "graph.json", "params")))
    pipeline.to_object(ir, weights, platform, 2, "aot", "windows", files)
    loaded: dict[str, Any] = json.loads(files.graph.read_text())
    return loaded


def places(graph: dict[str, Any], node_: int) -> list[tuple[int, int]]:
    """The bytes of the workspace that a node writes: the first, and the one after the last."""
    columns = {key: value[1] for key, value in graph["attrs"].items()}
    first, last = graph["node_row_ptr"][node_ : node_ + 2]
    return [
        (columns["storage_offset"][row], columns["storage_offset"][row] + 4 * int(np.prod(columns["shape"][row])))
        for row in range(first, last)
        if columns["storage_kind"][row] == "workspace"
    ]


def test_nothing_is_written_over_what_is_kept(tmp_path: Path) -> None:
    graph = graph_of(PLATFORMS["web"], tmp_path)
    prepares = [index for index, it in enumerate(graph["nodes"]) if it.get("attrs", {}).get("prepares")]
    assert len(prepares) == 2
    for index in range(len(graph["nodes"])):
        if graph["nodes"][index].get("attrs", {}).get("func_name") == "__nop":
            continue
        for start, end in places(graph, index):
            for kept in prepares:
                assert index == kept or all(end <= first or last <= start for first, last in places(graph, kept))


@pytest.mark.parametrize("name", ["teaclave", "wasi"])
def test_where_an_instance_runs_once_nothing_is_kept(name: str, tmp_path: Path) -> None:
    assert not [it for it in graph_of(PLATFORMS[name], tmp_path)["nodes"] if it.get("attrs", {}).get("prepares")]


@pytest.mark.slow
def test_each_run_of_an_instance_is_right(built: Path, tmp_path: Path) -> None:
    workspace = copy(built, tmp_path / "workspace")
    folder = workspace / "models/windows"
    folder.mkdir()
    onnx.save(windows(), folder / "windows.onnx")
    evaluator = ReferenceEvaluator(windows())
    count = int(np.prod(SHAPE))
    for mode in ("embedded", "file"):
        (folder / "windows.toml").write_text(MANIFEST.format(mode=mode))
        scons(workspace, "windows.web")
        script = f"""
            const {{ load }} = await import("./windows.js");
            const model = await load();
            const input = (factor) => Float32Array.from({{ length: {count} }}, (_, index) => Math.sin(index * factor));
            tell([0.1, 0.7, 0.1].map((factor) => [...model.run({{ x: input(factor) }}).y]));
        """
        for factor, found in zip(
            (0.1, 0.7, 0.1), node(script, workspace / "build/web/windows/windows.web"), strict=True
        ):
            x = np.sin(np.arange(count) * factor).astype(F).reshape(SHAPE)
            (expected,) = evaluator.run(None, {"x": x})
            np.testing.assert_allclose(np.array(found).reshape(OUT), expected, atol=2e-5)
