"""The interface: what a compiled graph and a manifest make of each other, and the descriptor that the wrapper reads."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onnx_wasm.errors import BuildError
from onnx_wasm.interface import Interface, ParamsFile, Tensor, combine, to_descriptor, to_json
from onnx_wasm.manifest import Image, Input, Output
from onnx_wasm.platforms import WEB

# A decoder of its own, after ARCHITECTURE.md.

DTYPES = [
    *("float32", "float64", "float16"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "bool",
]


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def word(self) -> int:
        self.at += 4
        return int.from_bytes(self.data[self.at - 4 : self.at], "little")

    def words(self, count: int) -> list[int]:
        return [self.word() for _ in range(count)]

    def octets(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def floats(self, count: int) -> list[float]:
        self.at += 4 * count
        return list(struct.unpack_from(f"<{count}f", self.data, self.at - 4 * count))

    def string(self) -> str:
        size = self.word()
        text = self.data[self.at : self.at + size].decode()
        end = self.at + size
        self.at = (end + 3) // 4 * 4
        assert not any(self.data[end : self.at]), "padding"
        return text

    def tensor(self) -> dict[str, Any]:
        tensor: dict[str, Any] = {"name": self.string(), "argument": self.string(), "dtype": DTYPES[self.word()]}
        tensor["offset"] = self.word()
        tensor["shape"] = self.words(self.word())
        tensor["format"] = ["raw", "npy", "image"][self.word()]
        if tensor["format"] == "image":
            tensor["layout"] = ["nchw", "nhwc"][self.word()]
            tensor["color"] = ["gray", "rgb", "bgr"][self.word()]
            tensor["resize"] = ["nearest", "bilinear"][self.word()]
            channels = self.word()
            tensor["scale"], tensor["mean"] = self.floats(channels), self.floats(channels)
        return tensor


def decode(data: bytes) -> dict[str, Any]:
    reader = Reader(data)
    assert reader.word() == int.from_bytes(b"OWM1", "little")
    keys = ("params", "workspace", "inputs", "outputs", "graph", "max_pixels", "returns", "return_output")
    found: dict[str, Any] = dict(zip(keys, reader.words(8), strict=True))
    found["params_argument"] = reader.string()
    found["params_sha256"] = reader.octets(32).hex() if found["params_argument"] else ""
    found["takes"] = [reader.tensor() for _ in range(reader.word())]
    found["gives"] = [reader.tensor() for _ in range(reader.word())]
    assert reader.at == len(data), "something is left"
    return found


words = st.integers(0, 2**32 - 1)
floats = st.floats(width=32, allow_nan=False)


@st.composite
def tensors(draw: st.DrawFn, formats: tuple[str, ...]) -> Tensor:
    format_ = draw(st.sampled_from(formats))
    image = None
    if format_ == "image":
        color = draw(st.sampled_from(["gray", "rgb", "bgr"]))
        channels = st.lists(floats, min_size=1 if color == "gray" else 3, max_size=1 if color == "gray" else 3)
        image = Image(
            color=color,
            resize=draw(st.sampled_from(["nearest", "bilinear"])),
            scale=tuple(draw(channels)),
            mean=tuple(draw(channels)),
            layout=draw(st.sampled_from(["nchw", "nhwc"])),
            max_pixels=draw(words),
        )
    return Tensor(
        draw(st.text(max_size=9)),
        draw(st.text(max_size=9)),
        draw(st.sampled_from(DTYPES)),
        tuple(draw(st.lists(words, max_size=5))),
        draw(words),
        format_,
        image,
    )


sha256s = st.binary(min_size=32, max_size=32).map(bytes.hex)
interfaces = st.builds(
    Interface,
    st.lists(tensors(("raw", "npy", "image")), max_size=4).map(tuple),
    st.lists(tensors(("raw", "npy")), max_size=4).map(tuple),
    st.sampled_from(["status", "argmax"]),
    st.integers(0, 3),
    st.fixed_dictionaries(dict.fromkeys(("inputs", "outputs", "params", "workspace"), words)),
    st.none() | st.builds(ParamsFile, st.text(min_size=1, max_size=9), st.just("x.params"), sha256s),
)


def expected(tensor: Tensor) -> dict[str, Any]:
    told = {key: getattr(tensor, key) for key in ("name", "argument", "dtype", "offset", "format")}
    told["shape"] = list(tensor.shape)
    if tensor.image:
        told |= {key: getattr(tensor.image, key) for key in ("layout", "color", "resize")}
        told |= {"scale": list(tensor.image.scale), "mean": list(tensor.image.mean)}
    return told


@given(interface=interfaces, graph_size=words)
def test_the_descriptor_holds_the_interface(interface: Interface, graph_size: int) -> None:
    found = decode(to_descriptor(interface, graph_size))
    assert {area: found[area] for area in interface.sizes} == interface.sizes
    assert found["graph"] == graph_size
    params = interface.params_file
    assert (found["params_argument"], found["params_sha256"]) == (
        (params.argument, params.sha256) if params else ("", "")
    )
    assert found["max_pixels"] == max((it.image.max_pixels for it in interface.inputs if it.image), default=0)
    assert found["returns"] == ["status", "argmax"].index(interface.returns)
    assert found["return_output"] == interface.return_output
    assert found["takes"] == [expected(it) for it in interface.inputs]
    assert found["gives"] == [expected(it) for it in interface.outputs]


@given(interface=interfaces)
def test_the_json_holds_the_interface(interface: Interface) -> None:
    told = json.loads(to_json(interface, WEB, "aot", {-1: "wrong"}))
    module = {"platform": "web", "executor": "aot", "statuses": {"-1": "wrong"}, "imports": {}, "exports": WEB.exports}
    assert told == json.loads(json.dumps(dataclasses.asdict(interface))) | module


# What a graph says of two inputs and two outputs; a weight stands between them.
GRAPH = {
    "nodes": [{"name": "in:0"}, {"name": "b"}, {"name": "weight"}, {"name": "kernel"}],
    "arg_nodes": [0, 1, 2],
    "heads": [[3, 1, 0], [3, 0, 0]],
    "output_names": ["first", "second"],
    "node_row_ptr": [0, 1, 2, 3, 5],
    "attrs": {
        "dltype": ["list_str", ["float32", "int64", "float32", "float32", "float16"]],
        "shape": ["list_shape", [[1, 3, 4, 4], [2], [9], [1, 10], []]],
        "storage_kind": ["list_str", ["inputs", "inputs", "params", "outputs", "outputs"]],
        "storage_offset": ["list_int", [0, 192, 0, 64, 0]],
    },
    "areas": {"inputs": 256, "outputs": 128, "params": 64, "workspace": 0},
}
RGB = Image(color="rgb", scale=(1.0,) * 3, mean=(0.0,) * 3)


def named(name: str, argument: str = "", **more: Any) -> Input:
    return Input(name=name, argument=argument or name, **more)


def problems(inputs: list[Input], outputs: list[Output], graph: dict[str, Any] = GRAPH) -> list[str]:
    with pytest.raises(BuildError) as error:
        combine(graph, inputs, outputs, "x.toml")
    return [problem.message for problem in error.value.problems]


def test_what_the_manifest_does_not_mention_has_defaults() -> None:
    assert combine(GRAPH, [], [], "x.toml") == Interface(
        (
            Tensor("in:0", "in_0", "float32", (1, 3, 4, 4), 0, "npy"),
            Tensor("b", "b", "int64", (2,), 192, "npy"),
        ),
        (
            Tensor("first", "first", "float16", (), 0, "npy"),
            Tensor("second", "second", "float32", (1, 10), 64, "npy"),
        ),
        "status",
        0,
        {"inputs": 256, "outputs": 128, "params": 64, "workspace": 0},
    )


def test_the_manifest_says_how_tensors_are_read_and_written() -> None:
    found = combine(
        GRAPH,
        [named("in:0", "picture", format="image", image=RGB)],
        [Output(name="second", return_="argmax"), Output(name="first", argument="file", format="raw")],
        "x.toml",
    )
    assert found.inputs[0].argument == "picture"
    assert found.inputs[0].image == dataclasses.replace(RGB, layout="nchw")
    assert (found.outputs[0].argument, found.outputs[0].format) == ("file", "raw")
    assert found.outputs[1].argument == ""
    assert (found.returns, found.return_output) == ("argmax", 1)


@pytest.mark.parametrize(
    ("shape", "color", "layout"),
    [
        ([1, 3, 5, 7], "rgb", "nchw"),
        ([1, 5, 7, 3], "bgr", "nhwc"),
        ([3, 5, 7], "rgb", "nchw"),
        ([5, 7, 3], "rgb", "nhwc"),
        ([1, 1, 5, 7], "gray", "nchw"),
        ([3, 3, 3], "rgb", "nchw"),
    ],
)
def test_the_shape_tells_the_layout(shape: list[int], color: str, layout: str) -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["attrs"]["shape"][1][0] = shape
    image = Image(color=color, scale=(1.0,) * 3, mean=(0.0,) * 3)
    found = combine(graph, [named("in:0", format="image", image=image)], [], "x.toml").inputs[0].image
    assert found is not None
    assert found.layout == layout


@pytest.mark.parametrize(
    ("shape", "layout"),
    [([2, 3, 5, 7], None), ([1, 4, 5, 7], None), ([5, 7], None), ([3], None), ([], None), ([1, 3, 5, 7], "nhwc")],
)
def test_what_is_not_one_picture_is_refused(shape: list[int], layout: str | None) -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["attrs"]["shape"][1][0] = shape
    image = dataclasses.replace(RGB, layout=layout)
    (message,) = problems([named("in:0", format="image", image=image)], [], graph)
    assert message == f'input "in:0" is {shape}: not one picture of 3 channels (rgb)'


def test_every_misfit_is_told_at_once() -> None:
    assert problems(
        [named("absent"), named("in:0", "same"), named("b", "same")],
        [Output(name="none"), Output(name="first", argument="same")],
    ) == [
        'the model has no input "absent"',
        'the model has no output "none"',
        'two files would be named by one argument, "same"',
    ]


def test_default_arguments_that_clash_are_told() -> None:
    graph = json.loads(json.dumps(GRAPH))
    graph["output_names"][0] = "in_0"
    assert problems([], [], graph) == ['two files would be named by one argument, "in_0"']
