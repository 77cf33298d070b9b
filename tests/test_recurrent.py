"""LSTM, GRU and RNN in every form that ONNX gives them, held against onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


@dataclass(frozen=True)
class Case:
    """A node.

    Args:
        operator: LSTM, GRU or RNN.
        more: Which operands it has besides the weights: B, sequence_lens, initial_h, initial_c, P.
        attributes: Its attributes, but for hidden_size.
        steps: The length of the sequences.
        batch: How many there are.
        width: Elements of an input.
        hidden: Elements of a state.
        known: Whether the weights are the model's own.
    """

    operator: str
    more: tuple[str, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    steps: int = 5
    batch: int = 2
    width: int = 3
    hidden: int = 8
    known: bool = True

    def test(self) -> NodeTest:
        """The case as a test, what it must give by onnxruntime."""
        random = np.random.default_rng(7)
        gates, hidden, batch = GATES[self.operator], self.hidden, self.batch
        directions = 2 if self.attributes.get("direction") == "bidirectional" else 1

        def floats(*shape: int) -> np.ndarray:
            return random.uniform(-1, 1, shape).astype(np.float32)

        values: dict[str, np.ndarray] = {
            "X": floats(self.steps, batch, self.width),
            "W": floats(directions, gates * hidden, self.width),
            "R": floats(directions, gates * hidden, hidden),
            "B": floats(directions, 2 * gates * hidden),
            "sequence_lens": np.array([self.steps, 2], np.int32)[:batch],
            "initial_h": floats(directions, batch, hidden),
            "initial_c": floats(directions, batch, hidden),
            "P": floats(directions, 3 * hidden),
        }
        order = [*values] if self.operator == "LSTM" else [*values][:6]
        names = [name if name in ("X", "W", "R", *self.more) else "" for name in order]
        kept = {name: values[name] for name in names if name}
        outputs = ["Y", "Y_h", "Y_c"][: 3 if self.operator == "LSTM" else 2]
        node = helper.make_node(self.operator, names, outputs, hidden_size=hidden, **self.attributes)
        weights = {name: it for name, it in kept.items() if self.known and name in ("W", "R", "B", "P")}
        given = {name: it for name, it in kept.items() if name not in weights}
        made = made_of(node, given, weights)
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        return NodeTest(self.operator, made, given, session.run(None, given), 1e-4, 1e-5)


def made_of(node: onnx.NodeProto, given: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    described: dict[str, tuple[str, list[int | str]]] = {
        name: (str(it.dtype), list(it.shape)) for name, it in given.items()
    }
    inferred: dict[str, tuple[str, list[int | str]]] = {
        name: (str(next(iter(given.values())).dtype), ["?"] * (4 - (name != "Y"))) for name in node.output
    }
    made: onnx.ModelProto = model([node], described, inferred, weights, 21)
    return made


ALL = ("B", "sequence_lens", "initial_h", "initial_c", "P")
CASES: dict[str, Callable[[], Case]] = {
    "LSTM": lambda: Case("LSTM"),
    "LSTM with everything": lambda: Case("LSTM", ALL, {"direction": "bidirectional", "clip": 0.7}),
    "LSTM, clipped": lambda: Case("LSTM", ("B",), {"clip": 0.7}),
    "LSTM backwards": lambda: Case("LSTM", ("B", "sequence_lens"), {"direction": "reverse"}),
    "LSTM of one step": lambda: Case("LSTM", ("B", "initial_h", "initial_c"), steps=1, batch=1, hidden=128, width=128),
    "LSTM, input and forget gate coupled": lambda: Case("LSTM", ("B", "P"), {"input_forget": 1}),
    "LSTM of an odd size": lambda: Case("LSTM", ("B", "initial_c"), hidden=5),
    "LSTM, weights unknown": lambda: Case("LSTM", ALL, {"direction": "bidirectional"}, known=False),
    "LSTM, other activations": lambda: Case(
        *("LSTM", ("B",)),
        {
            "activations": ["HardSigmoid", "ScaledTanh", "LeakyRelu"],
            "activation_alpha": [0.3, 0.9, 0.05], "activation_beta": [0.4, 1.1],
        },
    ),
    "GRU": lambda: Case("GRU", ("B",)),
    "GRU with everything": lambda: Case("GRU", ALL, {"direction": "bidirectional", "clip": 0.5}),
    "GRU, linear before reset": lambda: Case("GRU", ALL, {"direction": "bidirectional", "linear_before_reset": 1}),
    "GRU, linear, no bias": lambda: Case("GRU", ("initial_h",), {"linear_before_reset": 1}, hidden=12),
    "GRU backwards": lambda: Case(
        "GRU", ("B", "sequence_lens"), {"direction": "reverse", "activations": ["Sigmoid", "Softsign"]}
    ),
    "RNN": lambda: Case("RNN", ("B",)),
    "RNN with everything": lambda: Case("RNN", ALL, {"direction": "bidirectional", "activations": ["Relu", "Tanh"]}),
    "RNN, elu": lambda: Case("RNN", ("initial_h",), {"activations": ["Elu"], "activation_alpha": [0.8]}, hidden=3),
    "RNN, softplus": lambda: Case("RNN", ("B",), {"activations": ["Softplus"], "clip": 3.0}),
    "RNN, thresholded": lambda: Case("RNN", (), {"activations": ["ThresholdedRelu"], "activation_alpha": [0.2]}),
    "RNN, affine": lambda: Case(
        "RNN", ("B",), {"activations": ["Affine"], "activation_alpha": [0.2], "activation_beta": [0.1]}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_layer_computes_what_onnxruntime_computes(name: str, laboratory: Laboratory) -> None:
    verdict = node_tests.judge(CASES[name]().test(), laboratory)
    assert verdict.kind == "passed", verdict


@pytest.mark.parametrize("operator", ["LSTM", "GRU"])
def test_the_batch_may_come_first(operator: str, laboratory: Laboratory) -> None:
    """Which onnxruntime does not know: the same numbers in another order."""
    case = Case(operator, ("B", "initial_h"), {"direction": "bidirectional"}).test()
    given = {name: it.swapaxes(0, 1) if name != "sequence_lens" else it for name, it in case.inputs.items()}
    y, *states = case.outputs
    wanted = [y.transpose(2, 0, 1, 3), *(it.swapaxes(0, 1) for it in states)]
    made = onnx.ModelProto()
    made.CopyFrom(case.model)
    made.graph.node[0].attribute.append(helper.make_attribute("layout", 1))
    for value in made.graph.input:
        shape = value.type.tensor_type.shape.dim
        first, second = shape[0].dim_value, shape[1].dim_value
        shape[0].dim_value, shape[1].dim_value = second, first
    test = NodeTest("layout", made, given, wanted, 1e-4, 1e-5)
    assert node_tests.judge(test, laboratory).kind == "passed"


def test_halves_are_computed_with_as_floats(laboratory: Laboratory) -> None:
    case = Case("LSTM", ("B", "initial_h"), known=False).test()
    half = {name: it.astype(np.float16) for name, it in case.inputs.items()}
    made = made_of(case.model.graph.node[0], half, {})
    wanted = [it.astype(np.float16) for it in case.outputs]
    assert node_tests.judge(NodeTest("half", made, half, wanted, 2e-2, 2e-3), laboratory).kind == "passed"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"activations": ["Sine"]}, 'has the activation "Sine"'),
        ({"direction": "bidirectional", "activations": ["Tanh"]}, "has 1 activations, not 2"),
    ],
)
def test_what_is_not_known_is_refused(attributes: dict[str, Any], message: str, laboratory: Laboratory) -> None:
    case = Case("RNN").test()
    node = case.model.graph.node[0]
    node.attribute.extend(helper.make_attribute(name, value) for name, value in attributes.items())
    verdict = node_tests.judge(case, laboratory)
    assert verdict.kind == "refused"
    assert message in verdict.message


def test_weights_of_other_shapes_are_refused(laboratory: Laboratory) -> None:
    test = Case("GRU", ("B",)).test()
    node = test.model.graph.node[0]
    node.op_type = "RNN"
    node.attribute.append(helper.make_attribute("activations", ["Tanh"]))
    verdict = node_tests.judge(test, laboratory)
    assert verdict.kind == "refused"
    assert "has weights of other shapes than 1 gates of 8 elements have" in verdict.message
