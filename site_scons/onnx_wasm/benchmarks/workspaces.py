"""Workspaces of many small models, each another: what a large workspace is measured on.

python -m onnx_wasm.benchmarks.workspaces FOLDER COUNT
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_wasm.benchmarks import measured

if TYPE_CHECKING:
    import onnx

    from onnx_wasm.strategies.action import Action

SCONSTRUCT = """\
import onnx_wasm

SetOption("hash_format", "sha256")
DefaultEnvironment(tools=[])
env = Environment(tools=["onnx_to_wasm"], toolpath=onnx_wasm.TOOLPATH)
env.WasmWorkspace("models/*/*.toml")
"""
"""The SConstruct of such a workspace: what a repository of models has."""

STAND_INS = """
from pathlib import Path
from onnx_wasm.benchmarks import workspaces

env["ONNX_WASM"].strategy = workspaces.StandIns(Path("{template}"))
"""
"""What is added to have it built of stand-ins; ``template`` is a workspace of one model that is built."""

_MANIFEST = """\
schema-version = 1

[model]
name = "{name}"
path = "{name}.onnx"
"""
_OPSET = 17


def name(number: int) -> str:
    """The name of the workspace's model of this number."""
    return f"model-{number:05}"


def generate(top: Path, count: int) -> Path:
    """Writes a workspace: an SConstruct, and under ``models/`` a folder with ONNX file and manifest for each model.

    Args:
        top: Its folder, which is made.
        count: How many models. Each has weights of its own, and one of many shapes; the bytes of all are the same
            in every run.

    Returns:
        Its folder.
    """
    import onnx

    top.mkdir(parents=True, exist_ok=True)
    (top / "SConstruct").write_text(SCONSTRUCT, encoding="utf-8")
    for number in range(count):
        folder = top / "models" / name(number)
        folder.mkdir(parents=True)
        onnx.save(_model(number), folder / f"{name(number)}.onnx")
        (folder / f"{name(number)}.toml").write_text(_MANIFEST.format(name=name(number)), encoding="utf-8")
    return top


def generate_apart(top: Path, count: int) -> Path:
    """Writes a workspace as ``generate`` does, in a process of its own: this one imports nothing large for it."""
    command = [sys.executable, "-P", "-m", "onnx_wasm.benchmarks.workspaces", str(top), str(count)]
    subprocess.run(command, env=measured.environment(), check=True)
    return top


class StandIns:
    """A strategy that runs nothing: each output is the file that another build made in its place.

    To build thousands of models takes an hour, and a build with nothing to do, which only looks at names, sizes, times
    and notes, takes as long whatever is in them.

    Args:
        template: A workspace whose first model is built.
    """

    def __init__(self, template: Path) -> None:
        self._template = template

    def run(self, action: Action) -> int:
        """Links the outputs in."""
        for output in map(Path, action.outputs):
            made = self._template / str(output).replace(output.parent.name, name(0))
            if "libwrapper" in output.name:
                made = self._template / output
            output.parent.mkdir(parents=True, exist_ok=True)
            output.unlink(missing_ok=True)
            os.link(made, output)
        return 0


def _model(seed: int) -> onnx.ModelProto:
    """``scores = softmax(relu(x · w1 + b1) · w2 + b2)`` of drawn widths, float32."""
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    random = np.random.default_rng(seed)
    features, hidden, classes = (int(random.integers(least, most)) for least, most in ((4, 65), (8, 97), (2, 17)))
    shapes = {"w1": (features, hidden), "b1": (hidden,), "w2": (hidden, classes), "b2": (classes,)}
    weights = [
        numpy_helper.from_array(random.standard_normal(shape, np.float32), name) for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["sums"]),
        helper.make_node("Relu", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"]),
    ]
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, features])]
    outputs = [helper.make_tensor_value_info("scores", onnx.TensorProto.FLOAT, [1, classes])]
    graph = helper.make_graph(nodes, "classifier", inputs, outputs, weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", _OPSET)])


def main() -> None:
    """Writes a workspace."""
    folder, count = sys.argv[1:]
    generate(Path(folder), int(count))


if __name__ == "__main__":
    main()
