"""The front end: whatever form a model has, the graph that is left computes the same, and is static."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from support import ROOT, model

from onnx_wasm.compiler import frontend
from onnx_wasm.compiler.frontend import walk
from onnx_wasm.compiler.frontend.graph import Graph, Node
from onnx_wasm.compiler.frontend.refusal import broken
from onnx_wasm.errors import BuildError

F = "float32"
KNOWN = {
    *("Add", "And", "Cast", "Concat", "Erf", "Exp", "Gather", "Greater", "MatMul", "Mul", "Neg", "Relu", "Reshape"),
    *("Slice", "Sqrt", "Sub", "Transpose", "Where", "Div", "Sigmoid", "Not", "CastLike", "ConstantOfShape", "Sum"),
    *("Less", "Unsqueeze"),
}


def is_known(node: Node) -> bool:
    return node.key[0] == "" and node.proto.op_type in KNOWN


def load(
    folder: Path,
    proto: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    dimensions: Mapping[str, int] | None = None,
    known: Callable[[Node], bool] = is_known,
) -> Graph:
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return frontend.load(path, shapes or {}, dimensions or {}, "model.toml", known)


def operators(graph: Graph) -> list[str]:
    return [node.proto.op_type for node in graph.nodes]


def run(graph: Graph, values: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Computes a graph with ONNX's own evaluator."""
    tensors = dict(graph.values) | dict(values)
    for node in graph.nodes:
        names = [it for it in node.proto.input if it]
        single = helper.make_graph(
            [node.proto],
            "node",
            [
                helper.make_tensor_value_info(it, _element(tensors[it]), tensors[it].shape)
                for it in dict.fromkeys(names)
            ],
            [onnx.ValueInfoProto(name=it) for it in node.proto.output if it],
        )
        opset = helper.make_opsetid("", node.opset)
        made = ReferenceEvaluator(helper.make_model(single, opset_imports=[opset])).run(
            None, {it: tensors[it] for it in names}
        )
        tensors.update(zip((it for it in node.proto.output if it), map(np.asarray, made), strict=True))
    return [tensors[it] for it in graph.outputs.values()]


def _element(value: np.ndarray) -> int:
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))


def check(folder: Path, proto: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> Graph:
    """Holds the graph that is left against the model, by ONNX's own evaluator."""
    graph = load(folder, proto)
    for found, wanted in zip(run(graph, values), ReferenceEvaluator(proto).run(None, dict(values)), strict=True):
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-6)
    for node in graph.nodes:
        assert all(it in graph.types for it in node.proto.output if it)
    return graph


def refused(folder: Path, proto: onnx.ModelProto) -> list[str]:
    with pytest.raises(BuildError) as error:
        load(folder, proto)
    return [str(problem) for problem in error.value.problems]


X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)

# Shapes and constants


def test_arithmetic_on_shapes_is_done(tmp_path: Path) -> None:
    """As exporters write ``x.reshape(x.shape[0] * x.shape[1], -1)``."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Gather", ["shape", "one"], ["columns"]),
        helper.make_node("Mul", ["rows", "columns"], ["size"]),
        helper.make_node("Unsqueeze", ["size", "axes"], ["sizes"]),
        helper.make_node("Concat", ["sizes", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    whole = {"zero": 0, "one": 1, "axes": [0], "rest": [-1]}
    weights = {name: np.array(value, np.int64) for name, value in whole.items()}
    graph = check(tmp_path, model(nodes, {"x": (F, [2, 3])}, {"y": (F, [6, 1])}, weights), {"x": X})
    assert operators(graph) == ["Reshape"]
    assert graph.values[graph.nodes[0].proto.input[1]].tolist() == [6, -1]


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ({"value": numpy_helper.from_array(np.array([1, 2], np.int32))}, np.array([1, 2], np.int32)),
        ({"value_float": 2.5}, np.array(2.5, np.float32)),
        ({"value_floats": [1.0, 2.0]}, np.array([1, 2], np.float32)),
        ({"value_int": 3}, np.array(3, np.int64)),
        ({"value_ints": [3, 4]}, np.array([3, 4], np.int64)),
    ],
    ids=lambda it: next(iter(it)) if isinstance(it, dict) else "",
)
def test_a_constant_may_hold_its_value_in_any_attribute(
    attributes: dict[str, object], value: np.ndarray, tmp_path: Path
) -> None:
    nodes = [helper.make_node("Constant", [], ["y"], **attributes)]
    shape: list[int | str] = list(value.shape)
    graph = load(tmp_path, model(nodes, {}, {"y": (str(value.dtype), shape)}))
    np.testing.assert_array_equal(graph.values[graph.outputs["y"]], value)
    assert graph.values[graph.outputs["y"]].dtype == value.dtype


def test_a_constant_of_text_or_of_few_values_is_refused(tmp_path: Path) -> None:
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [1], [2.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [3]),
        [4],
    )
    nodes = [
        helper.make_node("Constant", [], ["a"], "few", sparse_value=sparse),
        helper.make_node("Constant", [], ["b"], "word", value_string="x"),
        helper.make_node("Add", ["a", "x"], ["y"]),
        helper.make_node("Add", ["b", "x"], ["z"]),
    ]
    few, word = refused(tmp_path, model(nodes, {"x": (F, [4])}, {"y": (F, [4]), "z": (F, [4])}))
    assert 'node "few": operator Constant of ai.onnx, opset 17: is sparse' in few
    assert 'node "word": operator Constant of ai.onnx, opset 17: is text' in word


def test_initialisers_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    proto = model([helper.make_node("Add", ["x", "w"], ["y"])], {"x": (F, [2, 3])}, {"y": (F, [2, 3])}, {"w": X})
    proto.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [2, 3]))
    proto.ir_version = 3
    assert list(load(tmp_path, proto).inputs) == ["x"]


def test_open_dimensions_are_frozen_and_what_follows_is_static(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Transpose", ["a"], ["y"], perm=[1, 0])]
    proto = model(nodes, {"x": (F, ["batch", 3])}, {"y": (F, [3, "batch"])})
    for graph in (load(tmp_path, proto, dimensions={"batch": 5}), load(tmp_path, proto, shapes={"x": (5, 3)})):
        assert graph.inputs["x"].shape == (5, 3)
        assert graph.types["y"].shape == (3, 5)


def test_no_name_is_given_twice(tmp_path: Path) -> None:
    """A file may have the very names that are made here."""
    nodes = [
        helper.make_node("Neg", ["x"], ["constant~1"]),
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Cast", ["shape"], ["extents"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["constant~1", "extents"], ["y"]),
    ]
    check(tmp_path, model(nodes, {"x": (F, [2, 2])}, {"y": (F, [2, 2])}), {"x": X[:, :2]})


def test_an_input_whose_value_is_settled_is_a_constant(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(conditional([], {"condition": ("bool", [])}).SerializeToString())
    graph = frontend.load(path, {}, {}, "model.toml", is_known, {"condition": False})
    assert list(graph.inputs) == ["x"]
    assert operators(graph) == ["Add", "Relu"]
    for wrong in ({"condition": 2}, {"condition": [True]}, {"other": 1}):
        with pytest.raises(BuildError, match=r"model\.toml: "):
            frontend.load(path, {}, {}, "model.toml", is_known, wrong)


def test_weights_of_other_dtypes_are_cast_now(tmp_path: Path) -> None:
    tensor = helper.make_tensor("w", TensorProto.BFLOAT16, [2], [1.5, -2.0])
    cast = helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT)
    proto = model([cast, helper.make_node("Mul", ["x", "wide"], ["y"])], {"x": (F, [2])}, {"y": (F, [2])})
    proto.graph.initializer.append(tensor)
    graph = load(tmp_path, proto)
    assert operators(graph) == ["Mul"]
    assert graph.values[graph.nodes[0].proto.input[1]].tolist() == [1.5, -2.0]
    del proto.graph.node[:]
    proto.graph.node.append(helper.make_node("Identity", ["w"], ["y"]))
    (message,) = refused(tmp_path, proto)
    assert 'a module cannot compute with these tensors: "w" of bfloat16' in message


def test_weights_keep_the_width_that_they_are_stored_in(tmp_path: Path) -> None:
    half = np.zeros((300, 300), np.float16)
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["y"]),
    ]
    graph = load(tmp_path, model(nodes, {"x": (F, [2, 300])}, {"y": (F, [2, 300])}, {"w": half}))
    assert operators(graph) == ["Cast", "MatMul"]
    assert graph.values["w"].dtype == np.float16


@pytest.mark.parametrize("shape", [[2, 1 << 40], [0, 1 << 32]], ids=["large", "without elements"])
def test_an_input_that_wasm32_cannot_address_is_told(shape: list[int | str], tmp_path: Path) -> None:
    proto = model([helper.make_node("Relu", ["x"], ["y"])], {"x": (F, shape)}, {"y": (F, shape)})
    (message,) = refused(tmp_path, proto)
    assert message.startswith('model.toml: input "x" is ')
    assert "wasm32 has 4 GiB of memory" in message


def test_a_small_file_cannot_ask_for_a_large_constant(tmp_path: Path) -> None:
    size = np.array([1 << 15, 1 << 15], np.int64)
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["large"], "large"),
        helper.make_node("ConstantOfShape", ["huge"], ["larger"], "larger"),
        helper.make_node("Add", ["x", "large"], ["y"]),
        helper.make_node("Add", ["x", "larger"], ["z"]),
    ]
    outputs: dict[str, tuple[str, list[int | str]]] = {"y": (F, ["a", "b"]), "z": (F, ["c", "d"])}
    proto = model(nodes, {"x": (F, [1])}, outputs, {"size": size, "huge": size * 64})
    message = "\n".join(refused(tmp_path, proto))
    assert "wasm32 has 4 GiB of memory" in message


# Functions and subgraphs


def local_function(alpha: float | None) -> onnx.ModelProto:
    body = [
        helper.make_node("Constant", [], ["factor"]),
        helper.make_node("Mul", ["a", "factor"], ["t"]),
        helper.make_node("Add", ["t", "a"], ["b"]),
    ]
    body[0].attribute.append(
        onnx.AttributeProto(name="value_float", type=onnx.AttributeProto.FLOAT, ref_attr_name="alpha")
    )
    opset = helper.make_opsetid("", 17)
    function = helper.make_function(
        "local", "Scaled", ["a"], ["b"], body, [opset], attribute_protos=[helper.make_attribute("alpha", 2.0)]
    )
    twice = [
        helper.make_node("Scaled", ["a"], ["t"], domain="local"),
        helper.make_node("Scaled", ["t"], ["b"], domain="local", alpha=0.5),
    ]
    outer = helper.make_function("local", "Twice", ["a"], ["b"], twice, [opset, helper.make_opsetid("local", 1)])
    own = {} if alpha is None else {"alpha": alpha}
    nodes = [
        helper.make_node("Scaled", ["x"], ["s"], domain="local", **own),
        helper.make_node("Twice", ["s"], ["y"], domain="local"),
    ]
    proto = model(nodes, {"x": (F, [2, 3])}, {"y": (F, [2, 3])})
    proto.functions.extend([function, outer])
    proto.opset_import.append(helper.make_opsetid("local", 1))
    return proto


@pytest.mark.parametrize("alpha", [None, 3.0])
def test_a_model_s_own_functions_are_written_out(alpha: float | None, tmp_path: Path) -> None:
    graph = load(tmp_path, local_function(alpha))
    assert operators(graph) == ["Mul", "Add"] * 3
    (y,) = run(graph, {"x": X})
    np.testing.assert_allclose(y, X * (1 + (alpha or 2)) * 3 * 1.5, rtol=1e-6)


def test_functions_that_call_each_other_for_ever_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_MOST_NODES", 1000)
    proto = local_function(None)
    proto.functions[1].node[0].op_type = "Twice"
    (message,) = refused(tmp_path, proto)
    assert "model.onnx: " in message


@pytest.mark.parametrize("operator", ["Gelu", "Softsign"])
def test_an_operator_without_a_converter_is_written_as_onnx_defines_it(operator: str, tmp_path: Path) -> None:
    known = KNOWN | {"Abs"}
    proto = model([helper.make_node(operator, ["x"], ["y"])], {"x": (F, [2, 3])}, {"y": (F, [2, 3])}, opset=22)
    graph = load(tmp_path, proto, known=lambda it: it.proto.op_type in known)
    assert operator not in operators(graph)
    np.testing.assert_allclose(run(graph, {"x": X})[0], ReferenceEvaluator(proto).run(None, {"x": X})[0], rtol=1e-5)


def conditional(nodes: list[onnx.NodeProto], inputs: dict[str, tuple[str, list[int | str]]]) -> onnx.ModelProto:
    y = helper.make_tensor_value_info("r", TensorProto.FLOAT, [2, 3])
    then = helper.make_graph([helper.make_node("Neg", ["x"], ["r"])], "then", [], [y])
    inner = helper.make_graph([helper.make_node("Relu", ["t"], ["r"])], "inner", [], [y])
    same = helper.make_graph([helper.make_node("Identity", ["t"], ["r"])], "same", [], [y])
    otherwise = helper.make_graph(
        [
            helper.make_node("Add", ["x", "two"], ["t"]),
            helper.make_node("If", ["condition"], ["r"], then_branch=same, else_branch=inner),
        ],
        "else", [], [y], [numpy_helper.from_array(np.array(2, np.float32), "two")],
    )  # fmt: skip
    branches = helper.make_node("If", ["condition"], ["y"], then_branch=then, else_branch=otherwise)
    return model([*nodes, branches], {"x": (F, [2, 3]), **inputs}, {"y": (F, [2, 3])})


@pytest.mark.parametrize("value", [True, False])
def test_of_a_known_condition_one_branch_is_left(value: bool, tmp_path: Path) -> None:
    constant = helper.make_node("Constant", [], ["condition"], value=numpy_helper.from_array(np.array(value)))
    graph = check(tmp_path, conditional([constant], {}), {"x": X})
    assert operators(graph) == (["Neg"] if value else ["Add", "Relu"])


@pytest.mark.parametrize("value", [True, False])
def test_of_an_unknown_condition_both_branches_are_computed(value: bool, tmp_path: Path) -> None:
    graph = check(tmp_path, conditional([], {"condition": ("bool", [])}), {"x": X, "condition": np.array(value)})
    assert operators(graph) == ["Neg", "Add", "Relu", "Where", "Where"]


# Loops


def looped(condition: str, steps: int | None, *inputs: tuple[str, str]) -> onnx.ModelProto:
    """``t = t + x`` while i < 3, which collects 2·t; its condition and number of steps as given."""
    value = helper.make_tensor_value_info
    whole = TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Add", ["t", "x"], ["t_after"]),
            helper.make_node("Less", ["i", "last"], [condition]),
            helper.make_node("Add", ["t_after", "t_after"], ["twice"]),
        ],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("t", whole, [2, 3])],
        [value("again", TensorProto.BOOL, []), value("t_after", whole, [2, 3]), value("twice", whole, [2, 3])],
        [numpy_helper.from_array(np.array(2, np.int64), "last"), numpy_helper.from_array(np.array(True), "again")][
            : 1 if condition == "again" else 2
        ],
    )
    nodes = [helper.make_node("Loop", ["steps" if steps is not None else "", "true", "x"], ["y", "all"], body=body)]
    weights = {"true": np.array(True)} | ({"steps": np.array(steps, np.int64)} if steps is not None else {})
    outputs: dict[str, tuple[str, list[int | str]]] = {"y": (F, [2, 3]), "all": (F, ["steps", 2, 3])}
    return model(nodes, {"x": (F, [2, 3]), **{name: (kind, []) for name, kind in inputs}}, outputs, weights)


@pytest.mark.parametrize(
    ("condition", "steps", "adds"), [("other", 4, 8), ("again", 9, 6), ("again", None, 6), ("other", 1, 2)]
)
def test_a_loop_is_written_out(condition: str, steps: int | None, adds: int, tmp_path: Path) -> None:
    """As often as its number of steps says, or until its condition, of which each step decides, does not hold.

    ONNX's evaluator joins what is collected along an axis that is there; by the definition there is a new one.
    """
    graph = load(tmp_path, looped(condition, steps))
    assert operators(graph).count("Add") == adds
    y, collected = run(graph, {"x": X})
    done = adds // 2
    np.testing.assert_allclose(y, X * (done + 1), rtol=1e-6)
    np.testing.assert_allclose(collected, np.stack([2 * X * (step + 2) for step in range(done)]), rtol=1e-6)


def test_a_loop_without_a_condition_ignores_that_of_its_body(tmp_path: Path) -> None:
    proto = looped("again", 5)
    proto.graph.node[0].input[1] = ""
    assert operators(load(tmp_path, proto)).count("Add") == 10


def test_a_loop_of_no_steps_collects_nothing(tmp_path: Path) -> None:
    graph = load(tmp_path, looped("other", 0))
    assert graph.outputs["y"] == "x"
    assert graph.values[graph.outputs["all"]].shape == (0, 2, 3)


def test_a_loop_that_only_a_run_can_end_is_refused(tmp_path: Path) -> None:
    proto = looped("other", 1, ("often", "int64"))
    proto.graph.node[0].input[0] = "often"
    (message,) = refused(tmp_path, proto)
    assert "operator Loop of ai.onnx, opset 17: runs as often as only a run knows" in message


def test_a_loop_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "_MOST_NODES", 1000)
    (message,) = refused(tmp_path, looped("other", 2**40))
    assert "more than 1000 nodes once its functions and loops are written out" in message


@pytest.mark.parametrize("backwards", [0, 1])
def test_a_scan_is_written_out(backwards: int, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Add", ["s", "column"], ["sum"]), helper.make_node("Neg", ["sum"], ["less"])],
        "body",
        [value("s", TensorProto.FLOAT, [2]), value("column", TensorProto.FLOAT, [2])],
        [value("sum", TensorProto.FLOAT, [2]), value("less", TensorProto.FLOAT, [2])],
    )
    node = helper.make_node(
        "Scan", ["s", "x"], ["y", "z"], body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1],
        scan_input_directions=[backwards], scan_output_directions=[backwards],
    )  # fmt: skip
    graph = load(tmp_path, model([node], {"s": (F, [2]), "x": (F, [2, 3])}, {"y": (F, [2]), "z": (F, [2, 3])}))
    start = np.array([5, 7], np.float32)
    sums = start[:, None] + np.cumsum(X[:, ::-1] if backwards else X, axis=1)
    found = run(graph, {"s": start, "x": X})
    np.testing.assert_allclose(found[0], sums[:, -1], rtol=1e-6)
    np.testing.assert_allclose(found[1], -(sums[:, ::-1] if backwards else sums), rtol=1e-6)


def test_a_scan_that_makes_fewer_tensors_than_it_says_is_told(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Neg", ["row"], ["less"])], "body",
        [value("row", TensorProto.FLOAT, [3])], [value("less", TensorProto.FLOAT, [3])],
    )  # fmt: skip
    node = helper.make_node("Scan", ["x"], ["y", "z"], body=body, num_scan_inputs=1)
    proto = model([node], {"x": (F, [2, 3])}, {"y": (F, [2, 3]), "z": (F, [2, 3])})
    (message,) = refused(tmp_path, proto)
    assert "nothing makes these tensors: z" in message


# Refusals


def test_every_operator_that_cannot_be_compiled_is_told_with_its_place(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], "first", domain="com.example"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Neg", ["b"], ["c"], domain="com.example"),
        helper.make_node("Concat", ["c", "b"], ["y"], axis=7),
    ]
    proto = model(nodes, {"x": (F, [2, 3])}, {"y": (F, [2, 3])})
    proto.opset_import.append(helper.make_opsetid("com.example", 3))
    first, second = refused(tmp_path, proto)
    assert 'model.onnx: node "first": operator Frobnicate of com.example, opset 3, cannot be compiled' in first
    assert "model.onnx: node number 2: operator Neg of com.example, opset 3, cannot be compiled" in second


def test_what_nobody_needs_may_be_what_cannot_be_compiled(tmp_path: Path) -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["unused"]), helper.make_node("Relu", ["x"], ["y"])]
    assert operators(load(tmp_path, model(nodes, {"x": (F, [2])}, {"y": (F, [2])}))) == ["Relu"]


def test_a_node_against_its_definition_is_told(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "x"], ["y"], "product")]
    (message,) = refused(tmp_path, model(nodes, {"x": (F, [2, 3])}, {"y": (F, [2, 3])}))
    assert 'node "product": operator MatMul of ai.onnx, opset 17: does not fit its definition' in message


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (IndexError("list index out of range"), "its attributes and inputs do not go together"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "it"), "its attributes and inputs do not go together"),
        (ValueError("Size mismatch"), "cannot be converted: Size mismatch"),
    ],
    ids=lambda it: type(it).__name__,
)
def test_a_node_that_cannot_be_read_to_its_end_is_told_in_plain_words(error: Exception, reason: str) -> None:
    assert broken(error, str(error)).reason == reason


def test_a_cycle_is_told(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    (message,) = refused(tmp_path, model(nodes, {}, {"b": (F, [1])}))
    assert "not a valid ONNX model: " in message


def test_subgraphs_nested_without_end_are_told(tmp_path: Path) -> None:
    def field(number: int, payload: bytes) -> bytes:
        size, rest = b"", len(payload)
        while rest >= 128:
            size, rest = size + bytes([rest % 128 + 128]), rest // 128
        return bytes([number << 3 | 2]) + size + bytes([rest]) + payload

    graph = b""
    for _ in range(2000):
        branch = field(1, b"then_branch") + field(6, graph) + bytes([20 << 3 | 128, 1, 5])
        graph = field(1, field(4, b"If") + field(5, branch))
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes([8, 8]) + field(7, graph))
    with pytest.raises(BuildError, match="not an ONNX file, or a damaged one"):
        frontend.load(path, {}, {}, "model.toml", is_known)


def test_the_graph_is_the_same_in_every_process(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(local_function(None).SerializeToString())
    program = (
        "import sys, hashlib; from pathlib import Path; from onnx_wasm.compiler import frontend\n"
        "known = ('Add', 'Mul')\n"
        "graph = frontend.load(Path(sys.argv[1]), {}, {}, 'm', lambda node: node.proto.op_type in known)\n"
        "print(*(node.proto.SerializeToString(deterministic=True).hex() for node in graph.nodes))\n"
        "print(list(graph.types.items()), list(graph.values), graph.outputs)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)], check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "site_scons")},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(said) == 1


def test_weights_beyond_what_wasm32_can_hold_are_refused_before_they_are_read(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    its = model(nodes, {"x": ("float32", [1, 32768])}, {"y": ("float32", [1, 32768])}, {"w": np.ones(1, "float32")})
    weights = its.graph.initializer[0]
    del weights.dims[:]
    weights.dims.extend([32768, 32768])
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.append(onnx.StringStringEntryProto(key="location", value="there-is-no.bin"))
    (tmp_path / "m.onnx").write_bytes(its.SerializeToString())
    message = r"has 4,294,967,296 bytes of weights; a wasm32 module has 4 GiB of memory, of which weights can be 2 GiB"
    with pytest.raises(BuildError, match=message):
        frontend.load(tmp_path / "m.onnx", {}, {}, "model.toml", is_known)
