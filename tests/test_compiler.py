"""The compiler: storage that never overlaps, a graph that says what runs where, modules that compute what ONNX says."""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support import model

from onnx_wasm import WRAPPER, toolchain
from onnx_wasm.actions import model_library, wasm_module
from onnx_wasm.compiler import memory, pipeline
from onnx_wasm.errors import BuildError
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.manifest import as_argument
from onnx_wasm.platforms import TEACLAVE

Graph = dict[str, Any]
AREAS = ("inputs", "outputs", "params", "workspace")

# Storage


@st.composite
def lifetimes(draw: st.DrawFn) -> list[memory.Lifetime]:
    found = []
    for index in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 10))
        size = draw(st.sampled_from([0, 1, 4, 63, 64, 65, 128, 1000]) | st.integers(0, 5000))
        found.append(memory.Lifetime(f"b{index}", size, first, first + draw(st.integers(0, 4))))
    return found


@given(its=lifetimes())
def test_buffers_that_are_alive_together_do_not_overlap(its: list[memory.Lifetime]) -> None:
    offsets, size = memory.shared(its)
    assert set(offsets) == {it.buffer for it in its}
    for it in its:
        assert offsets[it.buffer] % 64 == 0
        assert 0 <= offsets[it.buffer] <= size - it.nbytes
    for step in range(16):
        used = sorted((offsets[it.buffer], it.nbytes) for it in its if it.first <= step <= it.last and it.nbytes)
        assert all(start + nbytes <= following for (start, nbytes), (following, _) in itertools.pairwise(used))


@given(its=lifetimes())
def test_storage_is_never_more_than_without_sharing(its: list[memory.Lifetime]) -> None:
    _, shared = memory.shared(its)
    _, apart = memory.in_sequence((it.buffer, it.nbytes) for it in its)
    at_least = max(
        (sum(memory.aligned(it.nbytes) for it in its if it.first <= step <= it.last) for step in range(16)), default=0
    )
    assert at_least <= shared <= apart


@given(sizes=st.lists(st.integers(0, 300), max_size=8))
def test_buffers_in_sequence_follow_each_other(sizes: list[int]) -> None:
    offsets, size = memory.in_sequence((str(index), nbytes) for index, nbytes in enumerate(sizes))
    ends = [*offsets.values(), size]
    assert all(at % 64 == 0 for at in ends)
    assert all(
        start + nbytes <= end < start + nbytes + 64 for start, nbytes, end in zip(ends, sizes, ends[1:], strict=False)
    )


# Whole models


class Workshop:
    """Compiles models as the steps of a build do, in this process.

    Args:
        folder: Where to put what is made.
        wrappers: The wrapper's library for each executor.
    """

    def __init__(self, folder: Path, wrappers: dict[str, Path]) -> None:
        self._folder = folder
        self._wrappers = wrappers
        self._tools = toolchain.find()

    def objects(self, proto: onnx.ModelProto, executor: str) -> pipeline.ObjectFiles:
        """Compiles a model up to its object."""
        onnx.save(proto, self._folder / "model.onnx")
        ir, weights = self._folder / "ir.json", self._folder / "weights.safetensors"
        pipeline.to_ir(self._folder / "model.onnx", pipeline.Freeze({}, {}), "model", ir, weights)
        outputs = pipeline.ObjectFiles(*(self._folder / name for name in ("model.o", "graph.json", "params")))
        pipeline.to_object(ir, weights, TEACLAVE, 2, executor, "model", outputs)
        return outputs

    def graph(self, proto: onnx.ModelProto, executor: str = "aot") -> Graph:
        """The graph that a model is compiled to."""
        loaded: Graph = json.loads(self.objects(proto, executor).graph.read_text())
        return loaded

    def host(self, proto: onnx.ModelProto, executor: str) -> TeaclaveHost:
        """Compiles a model and loads the module."""
        made = self.objects(proto, executor)
        library, module = self._folder / "libmodel.a", self._folder / "model.wasm"
        library.unlink(missing_ok=True)
        model_library.run(
            argparse.Namespace(
                object=made.object, graph=made.graph, params=made.params, params_argument="", executor=executor,
                declared={"inputs": [], "outputs": []}, archiver=self._tools.archiver.command,
                platform="teaclave", statuses=WRAPPER / "src/status.rs",
                library=library, interface=self._folder / "interface.json", manifest=Path("model"),
            )
        )  # fmt: skip
        wasm_module.run(
            argparse.Namespace(
                library=[library, self._wrappers[executor]], platform="teaclave", target_feature=[],
                params_in_file=False, linker=self._tools.linker.command, module=module,
                symbols=self._folder / "symbols.json", manifest=Path("model"),
            )
        )  # fmt: skip
        return TeaclaveHost.load(module)

    def run(self, host: TeaclaveHost, values: dict[str, np.ndarray], outputs: list[str]) -> list[np.ndarray]:
        """Runs a module on arrays and gives its outputs."""
        arguments = {}
        for name, value in values.items():
            arguments[as_argument(name)] = str(self._folder / f"{as_argument(name)}.npy")
            np.save(arguments[as_argument(name)], value)
        written = {as_argument(name): str(self._folder / f"out_{as_argument(name)}.npy") for name in outputs}
        result = host.run(arguments | written)
        assert result.value == 0, result
        return [np.load(path) for path in written.values()]


@pytest.fixture(scope="module")
def workshop(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    platform = built / "build/teaclave"
    wrappers = {"aot": platform / "wrapper", "graph": platform / "wrapper-image-graph"}
    libraries = {executor: folder / "libwrapper.a" for executor, folder in wrappers.items()}
    return Workshop(tmp_path_factory.mktemp("workshop"), libraries)


def example_of(proto: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray]:
    """Random values for a model's inputs."""
    random = np.random.default_rng(seed)
    values = {}
    for value in proto.graph.input:
        dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        shape = [it.dim_value for it in value.type.tensor_type.shape.dim]
        below = 2 if dtype.kind == "b" else 50
        drawn = random.standard_normal(shape) if dtype.kind == "f" else random.integers(0, below, shape)
        values[value.name] = drawn.astype(dtype)
    return values


def check(workshop: Workshop, proto: onnx.ModelProto, executor: str) -> None:
    """Holds a module against ONNX's evaluator, twice: a run leaves nothing behind."""
    outputs = [value.name for value in proto.graph.output]
    host = workshop.host(proto, executor)
    for seed in (1, 2):
        values = example_of(proto, seed)
        expected = [np.asarray(value) for value in ReferenceEvaluator(proto).run(None, values)]
        for got, wanted in zip(workshop.run(host, values, outputs), expected, strict=True):
            assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
            if wanted.dtype.kind == "f":
                tolerance = 1e-2 if wanted.dtype == np.float16 else 1e-4
                np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
            else:
                np.testing.assert_array_equal(got, wanted)


WEIGHTS = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)
F = "float32"


def several_inputs_and_outputs() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Add", ["a", "b:0"], ["sum"]),
        helper.make_node("MatMul", ["sum", "w"], ["product"]),
        helper.make_node("Softmax", ["product"], ["soft/max"], axis=-1),
        helper.make_node("Cast", ["c"], ["c_float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sum", "c_float"], ["scaled"]),
    ]
    inputs = {"a": (F, [2, 4]), "b:0": (F, [2, 4]), "c": ("int64", [2, 1])}
    outputs = {"product": (F, [2, 3]), "soft/max": (F, [2, 3]), "scaled": (F, [2, 4])}
    return model(nodes, inputs, outputs, {"w": WEIGHTS})


def outputs_that_are_inputs_and_each_other() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Relu", ["x"], ["y"]),
        helper.make_node("Identity", ["y"], ["again"]),
        helper.make_node("Reshape", ["y", "shape"], ["view"]),
        helper.make_node("Reshape", ["x", "shape"], ["view_of_x"]),
    ]
    shapes = {"same": [2, 3], "y": [2, 3], "again": [2, 3], "view": [3, 2], "view_of_x": [3, 2]}
    outputs: dict[str, tuple[str, list[int | str]]] = {name: (F, list(shape)) for name, shape in shapes.items()}
    return model(nodes, {"x": (F, [2, 3])}, outputs, {"shape": np.array([3, 2], np.int64)})


def outputs_that_are_weights() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Identity", ["w"], ["weights"]),
        helper.make_node("Constant", [], ["constant"], value=numpy_helper.from_array(np.full((), 2.5, np.float32))),
        helper.make_node("Add", ["x", "constant"], ["y"]),
    ]
    outputs = {"weights": (F, [4, 3]), "y": (F, [4, 3])}
    return model(nodes, {"x": (F, [4, 3])}, outputs, {"w": WEIGHTS})


def one_weight_used_twice() -> onnx.ModelProto:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "t"], ["y"]),
    ]
    return model(nodes, {"x": (F, [2, 4])}, {"y": (F, [2, 4])}, {"w": WEIGHTS})


def a_scalar() -> onnx.ModelProto:
    nodes = [helper.make_node("ReduceSum", ["x"], ["y"], keepdims=0)]
    return model(nodes, {"x": (F, [5, 7])}, {"y": (F, [])})


def a_convolution() -> onnx.ModelProto:
    random = np.random.default_rng(3)
    weights = {
        "w1": random.standard_normal((8, 3, 3, 3), np.float32),
        "b1": random.standard_normal(8, np.float32),
        "w2": random.standard_normal((5, 8, 1, 1), np.float32),
        "scale": random.random(8, np.float32) + 0.5,
        "bias": random.random(8, np.float32),
        "mean": random.random(8, np.float32),
        "var": random.random(8, np.float32) + 0.5,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("BatchNormalization", ["c1", "scale", "bias", "mean", "var"], ["n1"]),
        helper.make_node("Relu", ["n1"], ["r1"]),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p1", "w2"], ["c2"]),
        helper.make_node("GlobalAveragePool", ["c2"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    return model(nodes, {"x": (F, [1, 3, 17, 19])}, {"y": (F, [1, 5]), "p1": (F, [1, 8, 4, 5])}, weights)


def convolutions_with_fewer_multiplications() -> onnx.ModelProto:
    """3×3 windows over pictures whose sides are no multiples of a tile's, padded unevenly."""
    random = np.random.default_rng(4)
    weights = {
        "w1": random.standard_normal((20, 16, 3, 3), np.float32) / 12,
        "b1": random.standard_normal(20, np.float32),
        "w2": random.standard_normal((32, 20, 3, 3), np.float32) / 13,
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], pads=[1, 0, 2, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2"], ["y"]),
    ]
    return model(nodes, {"x": (F, [2, 16, 21, 18])}, {"r1": (F, [2, 20, 22, 17]), "y": (F, [2, 32, 20, 15])}, weights)


def a_large_temporary() -> onnx.ModelProto:
    """A softmax over more than a kilobyte: its kernel needs storage of its own."""
    nodes = [
        helper.make_node("Softmax", ["x"], ["s"], axis=1),
        helper.make_node("LogSoftmax", ["s"], ["l"], axis=0),
        helper.make_node("Add", ["s", "l"], ["y"]),
    ]
    return model(nodes, {"x": (F, [64, 70])}, {"y": (F, [64, 70])})


def a_product_of_one_row_spread_over_many() -> onnx.ModelProto:
    """As where a layer weighs the channels of a picture: written out, the many rows would never be compiled."""
    random = np.random.default_rng(0)
    weights = {name: random.standard_normal(shape, np.float32) for name, shape in (("w", (24, 96)), ("b", (96,)))}
    nodes = [
        helper.make_node("MatMul", ["s", "w"], ["sw"]),
        helper.make_node("Add", ["sw", "b"], ["weight"]),
        helper.make_node("Mul", ["x", "weight"], ["weighed"]),
        helper.make_node("Add", ["weighed", "x"], ["y"]),
    ]
    return model(nodes, {"x": (F, [2116, 96]), "s": (F, [1, 24])}, {"y": (F, [2116, 96])}, weights)


def a_mask_that_nobody_reads() -> onnx.ModelProto:
    """Until opset 10 the mask of Dropout is of its data's dtype."""
    nodes = [helper.make_node("Dropout", ["x"], ["z", "mask"], ratio=0.4), helper.make_node("Relu", ["z"], ["y"])]
    return model(nodes, {"x": (F, [2, 3])}, {"y": (F, [2, 3])}, opset=9)


def nothing_computed() -> onnx.ModelProto:
    return model([helper.make_node("Identity", ["x"], ["y"])], {"x": (F, [3])}, {"y": (F, [3])})


MODELS = [
    several_inputs_and_outputs,
    outputs_that_are_inputs_and_each_other,
    outputs_that_are_weights,
    one_weight_used_twice,
    a_scalar,
    a_convolution,
    convolutions_with_fewer_multiplications,
    a_large_temporary,
    a_mask_that_nobody_reads,
    a_product_of_one_row_spread_over_many,
    nothing_computed,
]


@pytest.mark.parametrize("executor", ["aot", "graph"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_module_computes_what_onnx_says(make: Any, executor: str, workshop: Workshop) -> None:
    check(workshop, make(), executor)


@pytest.mark.parametrize("executor", ["aot", "graph"])
@pytest.mark.parametrize(
    "dtype", ["float64", "float16", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)
def test_every_dtype_goes_in_and_out(dtype: str, executor: str, workshop: Workshop) -> None:
    shape = (dtype, [3, 5])
    if dtype == "bool":
        nodes = [helper.make_node("Not", ["x"], ["y"])]
    else:
        nodes = [helper.make_node("Where", ["c", "x", "z"], ["y"])]
    inputs = {"x": shape} if dtype == "bool" else {"c": ("bool", [3, 5]), "x": shape, "z": shape}
    check(workshop, model(nodes, inputs, {"y": shape}), executor)


@st.composite
def elementwise_models(draw: st.DrawFn) -> onnx.ModelProto:
    """Operators on tensors of one shape that read each other's results, near and far."""
    shape = [draw(st.integers(1, 6)), draw(st.integers(1, 40))]
    names, nodes = ["x", "z"], []
    for index in range(draw(st.integers(1, 10))):
        operator = draw(st.sampled_from(["Add", "Sub", "Mul", "Relu", "Tanh", "Neg", "Softmax", "MatMul"]))
        if operator == "MatMul":  # no operator that would be fused: its result needs a place
            source = draw(st.sampled_from(names))
            nodes.append(helper.make_node("MatMul", [source, "square"], [f"t{index}"]))
        else:
            count = 2 if operator in ("Add", "Sub", "Mul") else 1
            nodes.append(
                helper.make_node(operator, [draw(st.sampled_from(names)) for _ in range(count)], [f"t{index}"])
            )
        names.append(f"t{index}")
    results = draw(st.lists(st.sampled_from(names[2:]), min_size=1, max_size=3, unique=True))
    if names[-1] not in results:
        results.append(names[-1])
    square = (np.random.default_rng(0).standard_normal((shape[1], shape[1])) / shape[1]).astype(np.float32)
    described: tuple[str, list[int | str]] = (F, list(shape))
    return model(nodes, dict.fromkeys(("x", "z"), described), dict.fromkeys(results, described), {"square": square})


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(proto=elementwise_models(), executor=st.sampled_from(["aot", "graph"]))
def test_random_models_compute_what_onnx_says(proto: onnx.ModelProto, executor: str, workshop: Workshop) -> None:
    check(workshop, proto, executor)
    assert_storage_is_kept(workshop.graph(proto, executor))


# The graph JSON


def entries(graph: Graph) -> list[dict[str, Any]]:
    """The graph's tensors: one row for each output of each node."""
    columns = {key: value[1] for key, value in graph["attrs"].items()}
    count = graph["node_row_ptr"][-1]
    assert {len(column) for column in columns.values()} == {count}
    return [{key: column[row] for key, column in columns.items()} for row in range(count)]


def nbytes(entry: dict[str, Any]) -> int:
    return int(np.prod(entry["shape"], dtype=np.int64)) * np.dtype(entry["dltype"]).itemsize


def occupied(entry: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The bytes that a tensor stands on."""
    start = entry["storage_offset"]
    return ((entry["storage_kind"], byte) for byte in range(start, start + nbytes(entry)))


def assert_storage_is_kept(graph: Graph) -> None:
    """Runs a graph on storage that remembers who wrote each byte: every read finds what its writer left there."""
    rows, table = graph["node_row_ptr"], entries(graph)
    writer: dict[tuple[str, int], int] = {}
    made_by: dict[int, int] = {}

    def take(node: int, output: int) -> int:
        row = rows[node] + output
        assert all(writer[byte] == made_by[row] for byte in occupied(table[row])), f"entry {row} was overwritten"
        return row

    for index, node in enumerate(graph["nodes"]):
        reads = [take(*source[:2]) for source in node["inputs"]]
        written = range(rows[index], rows[index + 1])
        if node["op"] == "tvm_op" and node["attrs"]["func_name"] == "__nop":
            (row,), (source,) = written, reads
            assert table[row]["storage_id"] == table[source]["storage_id"]
            made_by[row] = made_by[source]
            continue
        own = [byte for row in written for byte in occupied(table[row])]
        assert len(own) == len(set(own)), f"outputs of node {index} overlap"
        assert not set(own) & {byte for row in reads for byte in occupied(table[row])}, f"node {index} writes its input"
        for row in written:
            made_by[row] = row
            writer.update(dict.fromkeys(occupied(table[row]), row))
    for head in graph["heads"]:
        take(*head[:2])


@pytest.mark.parametrize("executor", ["aot", "graph"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_graph_says_what_runs_on_which_storage(make: Any, executor: str, workshop: Workshop) -> None:
    proto = make()
    made = workshop.objects(proto, executor)
    graph: Graph = json.loads(made.graph.read_text())
    table, rows, nodes = entries(graph), graph["node_row_ptr"], graph["nodes"]
    # TVM's part of the format
    assert len(rows) == len(nodes) + 1
    assert rows == sorted(rows)
    assert graph["arg_nodes"] == [index for index, node in enumerate(nodes) if node["op"] == "null"]
    assert len({node["name"] for node in nodes}) == len(nodes)
    for index, node in enumerate(nodes):
        assert all(source[0] < index for source in node["inputs"])
        if node["op"] == "tvm_op":
            assert node["attrs"]["num_inputs"] == str(len(node["inputs"]))
            assert node["attrs"]["num_outputs"] == str(rows[index + 1] - rows[index])
    assert {key: value[0] for key, value in graph["attrs"].items()} == {
        "dltype": "list_str", "shape": "list_shape", "storage_id": "list_int",
        "storage_kind": "list_str", "storage_offset": "list_int",
    }  # fmt: skip
    # ours
    assert set(graph["areas"]) == set(AREAS)
    assert {entry["storage_kind"] for entry in table} <= set(AREAS)
    for entry in table:
        assert entry["storage_offset"] % 64 == 0
        assert entry["storage_offset"] + nbytes(entry) <= graph["areas"][entry["storage_kind"]]
    assert graph["output_names"] == [value.name for value in proto.graph.output]
    heads = [table[rows[head[0]] + head[1]] for head in graph["heads"]]
    assert all(head["storage_kind"] == "outputs" for head in heads)
    assert [head["shape"] for head in heads] == [
        [it.dim_value for it in value.type.tensor_type.shape.dim] for value in proto.graph.output
    ]
    takes = [nodes[index]["name"] for index in graph["arg_nodes"] if table[rows[index]]["storage_kind"] == "inputs"]
    assert takes == [value.name for value in proto.graph.input]
    assert made.params.stat().st_size == graph["areas"]["params"]
    assert_storage_is_kept(graph)


def test_the_workspace_is_reused(workshop: Workshop) -> None:
    """A chain of ten tensors needs the room of two."""
    nodes = [helper.make_node("MatMul", [f"t{index}", "w"], [f"t{index + 1}"]) for index in range(10)]
    shape: tuple[str, list[int | str]] = (F, [16, 32])
    weights = {"w": np.eye(32, dtype=np.float32)}
    graph = workshop.graph(model(nodes, {"t0": shape}, {"t10": shape}, weights))
    assert graph["areas"]["params"] == 32 * 32 * 4
    assert graph["areas"]["workspace"] <= 3 * 16 * 32 * 4


def test_tensors_that_are_together_more_than_wasm32_can_address_are_told(workshop: Workshop) -> None:
    shape: tuple[str, list[int | str]] = (F, [400_000_000])
    proto = model([helper.make_node("Add", ["x", "y"], ["z"])], {"x": shape, "y": shape}, {"z": shape})
    with pytest.raises(BuildError, match=r"needs 4,800,000,\d+ bytes of memory while it runs; wasm32 has 4 GiB"):
        workshop.graph(proto)


def test_a_kernel_of_a_kibibyte_of_temporaries_runs(workshop: Workshop) -> None:
    """Of temporaries of just as much as TVM keeps no longer on the stack."""
    nodes = [helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1])]
    weights = {"w": np.ones((4, 64, 3), np.float32)}
    check(workshop, model(nodes, {"x": (F, [1, 64, 2])}, {"y": (F, [1, 4, 2])}, weights), "aot")


def test_the_same_model_gives_the_same_files(workshop: Workshop) -> None:
    first, second = (
        [path.read_bytes() for path in vars(workshop.objects(a_convolution(), "aot")).values()] for _ in range(2)
    )
    assert first == second


# What cannot be compiled


def refused(workshop: Workshop, proto: onnx.ModelProto) -> str:
    with pytest.raises(BuildError) as error:
        workshop.objects(proto, "aot")
    return str(error.value)


def test_a_shape_that_depends_on_values_is_refused(workshop: Workshop) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["y"], "where")]
    message = refused(workshop, model(nodes, {"x": (F, [4])}, {"y": ("int64", [1, "n"])}))
    assert 'model.onnx: node "where": operator NonZero of ai.onnx, opset 17: makes a tensor whose shape' in message


def test_an_operator_that_the_importer_refuses_is_named(workshop: Workshop) -> None:
    """Its name is known, its attribute is not."""
    nodes = [helper.make_node("Pad", ["x", "pads"], ["y"], "padding", mode="nonsense")]
    pads = {"pads": np.array([1, 1], np.int64)}
    message = refused(workshop, model(nodes, {"x": (F, [4])}, {"y": (F, [6])}, pads, opset=19))
    assert 'node "padding": operator Pad of ai.onnx, opset 19: has the mode "nonsense"' in message


def test_initialisers_among_the_inputs_are_no_inputs(workshop: Workshop) -> None:
    """As files before IR version 4 have them."""
    proto = several_inputs_and_outputs()
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 3]))
    proto.ir_version = 3
    takes = [node["name"] for node in workshop.graph(proto)["nodes"] if node["op"] == "null"]
    assert takes[:3] == ["a", "b:0", "c"]
    assert "w" not in takes


def test_convolutions_over_lines_are_scheduled_as_those_over_pictures(workshop: Workshop) -> None:
    random = np.random.default_rng(3)
    weights = {
        "w1": random.standard_normal((8, 3, 5)).astype("float32"),
        "b1": random.standard_normal(8).astype("float32"),
        "w2": random.standard_normal((12, 4, 3)).astype("float32"),
        "shift": random.standard_normal((1, 20, 1)).astype("float32"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[2, 1], strides=[2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MaxPool", ["b"], ["c"], kernel_shape=[3], strides=[1]),
        helper.make_node("Conv", ["c", "w2"], ["d"], group=2, dilations=[2], pads=[2, 2]),
        helper.make_node("Concat", ["c", "d"], ["e"], axis=1),
        helper.make_node("Add", ["e", "shift"], ["f"]),
        helper.make_node("AveragePool", ["f"], ["y"], kernel_shape=[2], strides=[2]),
    ]
    proto = model(nodes, {"x": (F, [2, 3, 33])}, {"y": (F, [2, 20, 7])}, weights)
    check(workshop, proto, "aot")
    rules = [node["attrs"].get("rule") for node in workshop.graph(proto)["nodes"] if node["op"] == "tvm_op"]
    assert rules.count("gemm") == 2
    assert rules.count("channels") == 2


def test_convolutions_over_volumes_are_products(workshop: Workshop) -> None:
    random = np.random.default_rng(4)
    weights = {
        "w1": random.standard_normal((8, 3, 3, 2, 3)).astype("float32"),
        "b1": random.standard_normal(8).astype("float32"),
        "w2": random.standard_normal((12, 4, 2, 3, 3)).astype("float32"),
        "w3": random.standard_normal((5, 12, 1, 1, 1)).astype("float32"),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], pads=[2, 0, 1, 1, 1, 0], strides=[2, 1, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["c"], group=2, dilations=[3, 1, 2], pads=[1, 1, 0, 1, 1, 0]),
        helper.make_node("Conv", ["c", "w3"], ["y"], strides=[2, 1, 1]),
    ]
    proto = model(nodes, {"x": (F, [2, 3, 9, 7, 11])}, {"y": (F, [2, 5, 2, 6, 2])}, weights)
    check(workshop, proto, "aot")
    rules = [node["attrs"].get("rule") for node in workshop.graph(proto)["nodes"] if node["op"] == "tvm_op"]
    assert rules.count("gemm") == 3
    assert None not in rules
