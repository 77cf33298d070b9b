"""``./sconsw bench-weights``: the memory that each step of a build has for a model of 500 MB of weights.

The model is made for it: eight products of a vector and a matrix, the matrices in a file beside the ONNX file. It is
built and verified step by step in a temporary copy of the checkout; the figures are those of the largest process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from onnx_wasm.benchmarks.build import Checkout, copied
from onnx_wasm.benchmarks.table import Row, publish

TARGET = "bench-weights"
NAME = "heavy"

_LAYERS = 8
_WIDTH = 3952
_MOST_MB = 4000
_MB = 1000**2
_MANIFEST = f"""\
schema-version = 1

[model]
name = "{NAME}"
path = "{NAME}.onnx"

[[output]]
name = "y"
argument = "y"

[compile]
platforms = ["wasi"]

[verify]
samples = 1
"""
_STEPS = {
    "TvmIr": f"{NAME}.ir.json",
    "WasmObject": f"{NAME}.o",
    "ModelLibrary": f"lib{NAME}.a",
    "WasmModule": f"{NAME}.wasm",
    "WasmVerify": f"{NAME}.verify.json",
}
"""The rules, and what each makes."""


def write_model(folder: Path, layers: int, width: int) -> None:
    """Writes the model and its manifest.

    Args:
        folder: Where; it is made.
        layers: The number of matrices.
        width: Their rows and columns.
    """
    import numpy as np
    import onnx
    from onnx import helper

    folder.mkdir(parents=True)
    random, nodes, tensors = np.random.default_rng(3), [], []
    data = folder / f"{NAME}.bin"
    with data.open("wb") as file:
        for layer in range(layers):
            weights = random.standard_normal((width, width), np.float32) / np.sqrt(width, dtype=np.float32)
            tensor = onnx.TensorProto(name=f"w{layer}", data_type=onnx.TensorProto.FLOAT, dims=weights.shape)
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": data.name, "offset": file.tell(), "length": weights.nbytes}.items():
                tensor.external_data.add(key=key, value=str(value))
            file.write(weights.tobytes())
            tensors.append(tensor)
            last = "y" if layer == layers - 1 else f"x{layer + 1}"
            nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [last]))
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, width]) for name in ("x0", "y")]
    graph = helper.make_graph(nodes, NAME, ends[:1], ends[1:], tensors)
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    (folder / f"{NAME}.onnx").write_bytes(model.SerializeToString())
    (folder / f"{NAME}.toml").write_text(_MANIFEST, encoding="utf-8")


def measure(checkout: Checkout) -> list[Row]:
    """Builds and verifies the model that ``write_model`` put into a checkout.

    Args:
        checkout: The checkout.

    Returns:
        The rows of the table.
    """
    runs = {rule: checkout.build(target=f"build/wasi/{NAME}/{made}") for rule, made in _STEPS.items()}
    size = (checkout.top / "build" / "wasi" / NAME / f"{NAME}.wasm").stat().st_size
    weights = (checkout.top / "models" / NAME / f"{NAME}.bin").stat().st_size
    what = f"{weights / _MB:,.0f} MB of weights"
    return [
        *(Row(f"{what}: memory of {rule}", run.peak_bytes / _MB, "MB", _MOST_MB) for rule, run in runs.items()),
        Row(f"{what}: the module", size / _MB, "MB", weights / _MB + 1),
        Row(f"{what}: all steps, one by one", sum(run.seconds for run in runs.values()), "s", 300),
    ]


def main() -> None:
    """Measures the checkout that the current folder is, and ends the process: 0, or 1 if a limit is missed."""
    parser = argparse.ArgumentParser("onnx_wasm.benchmarks.weights", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="only write the model")
    arguments = parser.parse_args()
    if arguments.write:
        write_model(arguments.write, _LAYERS, _WIDTH)
        return
    with copied() as checkout:
        # In a process of its own: a process's peak counts the one it was forked from.
        command = [sys.executable, "-m", "onnx_wasm.benchmarks.weights", "--write", str(checkout.top / "models" / NAME)]
        subprocess.run(command, check=True)
        rows = measure(checkout)
    sys.exit(0 if publish(TARGET, rows) else 1)


if __name__ == "__main__":
    main()
