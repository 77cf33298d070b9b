"""Writes the ONNX files of the bad inputs, ``tests/bad/*/model.onnx``: ``python tests/bad_models.py``."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from onnx import helper
from support import model, store_outside, tiny

BAD = Path(__file__).parent / "bad"


def truncated() -> bytes:
    return tiny().SerializeToString()[:150]


def random_bytes() -> bytes:
    return random.Random(1).randbytes(200)


def text() -> bytes:
    """What a web server's answer that no one looked at, or Git LFS, leaves in a file's place."""
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 26454\n"


def without_graph() -> bytes:
    return helper.make_model(helper.make_graph([], "empty", [], [])).SerializeToString()


def unsupported_operators() -> bytes:
    shape = ("float32", [1, 4])
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], "fine"),
        helper.make_node("Frobnicate", ["a"], ["b"], "first", domain="com.example"),
        helper.make_node("CategoryMapper", ["b"], ["y"], domain="ai.onnx.ml"),
    ]
    built = model(nodes, {"x": shape}, {"y": shape})
    built.opset_import.extend([helper.make_opsetid("com.example", 3), helper.make_opsetid("ai.onnx.ml", 2)])
    return built.SerializeToString()


def open_dimensions() -> bytes:
    nodes = [helper.make_node("Add", ["x", "z"], ["y"])]
    inputs = {"x": ("float32", ["batch", 4]), "z": ("float32", [1, "length"])}
    return model(nodes, inputs, {"y": ("float32", ["batch", 4])}).SerializeToString()


def damaged_edges() -> bytes:
    """A node that reads a tensor which nobody makes."""
    broken = tiny()
    broken.graph.node[1].input[0] = "nobody"
    return broken.SerializeToString()


def shape_of_values() -> bytes:
    """A shape that only a run knows, behind an operator that cannot be compiled either."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"], "places"),
        helper.make_node("Frobnicate", ["places"], ["y"], "second", domain="com.example"),
    ]
    built = model(nodes, {"x": ("float32", [1, 4])}, {"y": ("int64", [2, "n"])})
    built.opset_import.append(helper.make_opsetid("com.example", 1))
    return built.SerializeToString()


def outside(location: str) -> Callable[[], bytes]:
    def build() -> bytes:
        built = tiny()
        store_outside(built, "w", location)
        return built.SerializeToString()

    return build


def clashing_names() -> bytes:
    shape = ("float32", [1, 4])
    nodes = [helper.make_node("Relu", ["x:0"], ["x_0"])]
    return model(nodes, {"x:0": shape}, {"x_0": shape}).SerializeToString()


def good() -> bytes:
    return tiny().SerializeToString()


MODELS: dict[str, Callable[[], bytes]] = {
    "build-folder-read-only": good,
    "data-absolute": outside("/etc/hostname"),
    "data-missing": outside("weights.bin"),
    "data-outside": outside("../weights.bin"),
    "data-too-short": outside("weights.bin"),
    "dimension-name-unknown": good,
    "dimensions-open": open_dimensions,
    "disk-full": good,
    "image-for-a-vector": good,
    "input-unknown": good,
    "input-unknown-frozen": good,
    "model-damaged-edges": damaged_edges,
    "model-empty": lambda: b"",
    "model-random": random_bytes,
    "model-text": text,
    "model-truncated": truncated,
    "model-without-graph": without_graph,
    "model-wrong-sha256": good,
    "no-archiver": good,
    "no-linker": good,
    "no-rust-target": good,
    "operators-unsupported": unsupported_operators,
    "output-unknown": good,
    "shape-of-values": shape_of_values,
    "shape-contradicts": good,
    "tensors-with-one-argument": clashing_names,
    "two-models-of-one-name": good,
}
"""The model of each bad input that has one."""


def main() -> None:
    """Writes every model into the folder that it belongs to."""
    for name, make in MODELS.items():
        folder = BAD / name
        folder.mkdir(exist_ok=True)
        (folder / "model.onnx").write_bytes(make())


if __name__ == "__main__":
    main()
