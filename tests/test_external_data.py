"""Which files an ONNX model's tensors are in, as read off the bytes, against onnx's own reading."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from support import tiny

from onnx_wasm.external_data import locations


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("external") / "model.onnx"


def read(path: Path, data: bytes) -> list[str]:
    path.write_bytes(data)
    return locations(str(path))


def outside(location: str, *, first: bool = True) -> TensorProto:
    """A tensor whose values are in a file; its entries are in either order."""
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    entries = {"location": location, "offset": "0", "length": "4"}
    for key in entries if first else reversed(entries):
        tensor.external_data.add(key=key, value=entries[key])
    return tensor


def inside() -> TensorProto:
    return numpy_helper.from_array(np.arange(3, dtype=np.float32), "i")


def node_with(tensors: list[TensorProto], graphs: list[onnx.GraphProto]) -> onnx.NodeProto:
    """A node whose attributes hold tensors and graphs, one by one and in lists."""
    node = helper.make_node("Anything", ["x"], ["y"], "node")
    for index, tensor in enumerate(tensors):
        node.attribute.append(helper.make_attribute(f"t{index}", tensor if index % 2 else [tensor, inside()]))
    for index, graph in enumerate(graphs):
        node.attribute.append(helper.make_attribute(f"g{index}", graph if index % 2 else [graph]))
    node.attribute.append(helper.make_attribute("s", helper.make_sparse_tensor(inside(), _indices(), [10])))
    return node


def _indices() -> TensorProto:
    return numpy_helper.from_array(np.arange(3, dtype=np.int64))


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12).map(lambda it: f"f{it}")
tensors = st.builds(outside, names, first=st.booleans())
graphs = st.recursive(
    st.builds(lambda its: helper.make_graph([node_with([], [])], "leaf", [], [], its), st.lists(tensors, max_size=2)),
    lambda inner: st.builds(
        lambda its, more, graphs: helper.make_graph([node_with(more, graphs)], "graph", [], [], [*its, inside()]),
        st.lists(tensors, max_size=2),
        st.lists(tensors, max_size=2),
        st.lists(inner, max_size=2),
    ),
    max_leaves=4,
)


def said_by_onnx(graph: onnx.GraphProto) -> Iterator[str]:
    yield from map(said_by_tensor, graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from map(said_by_tensor, [attribute.t, *attribute.tensors])
            for subgraph in [attribute.g, *attribute.graphs]:
                yield from said_by_onnx(subgraph)


def said_by_tensor(tensor: TensorProto) -> str:
    return onnx.external_data_helper.ExternalDataInfo(tensor).location


def in_folder(location: str) -> bool:
    return not location.startswith("/") and ".." not in location.split("/")


@given(graph=graphs)
def test_every_file_is_found(graph: onnx.GraphProto, path: Path) -> None:
    model = helper.make_model(graph)
    expected = sorted({location for location in said_by_onnx(graph) if location and in_folder(location)})
    assert read(path, model.SerializeToString()) == expected


@given(values=st.lists(tensors, min_size=2, max_size=2))
def test_functions_training_and_sparse_tensors_count(values: list[TensorProto], path: Path) -> None:
    first, second = values
    function = helper.make_function("d", "f", ["x"], ["y"], [node_with([first], [])], [helper.make_opsetid("", 17)])
    model = helper.make_model(helper.make_graph([], "g", [], []), functions=[function])
    model.training_info.add().algorithm.initializer.append(second)
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(first)
    sparse.indices.CopyFrom(second)
    assert set(read(path, model.SerializeToString())) == {
        it for it in map(said_by_tensor, values) if in_folder(it)
    }  # fmt: skip


@pytest.mark.parametrize("location", ["../w", "/w", "a/../../w", "a/..", "", "w\0"])
def test_files_outside_of_the_folder_are_left_out(location: str, path: Path) -> None:
    model = helper.make_model(helper.make_graph([], "g", [], [], [outside("kept/w"), outside(location)]))
    assert read(path, model.SerializeToString()) == ["kept/w"]


def test_a_model_without_external_data_has_none(path: Path) -> None:
    assert read(path, tiny().SerializeToString()) == []


def test_a_file_that_is_not_there_or_empty_has_none(tmp_path: Path) -> None:
    assert locations(str(tmp_path / "absent.onnx")) == []
    assert locations(str(tmp_path)) == []
    assert read(tmp_path / "empty.onnx", b"") == []


@given(data=st.binary(max_size=300))
@example(data=b"\x3a" * 1000)
@example(data=b"\x3a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01")
def test_any_bytes_are_read(data: bytes, path: Path) -> None:
    assert all(map(in_folder, read(path, data)))


def test_mutated_models_are_read(path: Path) -> None:
    chance = random.Random(5)
    graph = helper.make_graph([node_with([outside("a")], [])], "g", [], [], [outside("b/c"), inside()])
    whole = helper.make_model(graph).SerializeToString()
    assert read(path, whole) == ["a", "b/c"]
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        assert all(map(in_folder, read(path, bytes(data[: chance.randint(1, len(data))]))))


def test_deep_nesting_ends(path: Path) -> None:
    data = b""
    for _ in range(3000):  # Graph → Node → Attribute → Graph …
        for tag in (6 << 3 | 2, 5 << 3 | 2, 1 << 3 | 2):
            size, length = len(data), bytearray()
            while size >= 0x80:
                length.append(size & 0x7F | 0x80)
                size >>= 7
            data = bytes([tag, *length, size]) + data
    assert read(path, b"\x3a" + data) == []
