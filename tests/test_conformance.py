"""Conformance: models compute what ONNX's tests of its operators say, and whatever a test does, it is told of."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from support import ROOT, model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import bare_module, conformance, node_tests, table, workers
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest, Verdict
from onnx_wasm.benchmarks.workers import Broken, Limits

CORE = (ROOT / "tests/conformance/core.txt").read_text().split()
QUICK = [
    "ai_onnx_ml_tree_ensemble_set_membership",
    "ai_onnx_ml_tree_ensemble_single_tree",
    "add_bcast",
    "and2d",
    "argmax_keepdims_random",
    "attention_4d_causal_fp16",
    "attention_4d_softcap",
    "averagepool_2d_pads",
    "batchnorm_example",
    "ceil",
    "clip",
    "concat_2d_axis_1",
    "conv_with_strides_padding",
    "convtranspose_pads",
    "cos",
    "div_uint8",
    "equal_bcast",
    "exp",
    "flatten_axis2",
    "gather_0",
    "gemm_transposeB",
    "globalaveragepool",
    "greater_equal",
    "hardsigmoid",
    "identity",
    "instancenorm_example",
    "leakyrelu",
    "less_bcast",
    "logsoftmax_axis_1",
    "matmul_3d",
    "max_int32",
    "maxpool_2d_strides",
    "mean_one_input",
    "mod_mixed_sign_int8",
    "not_3d",
    "or3d",
    "pow_example",
    "prelu_broadcast",
    "reciprocal",
    "reduce_sum_default_axes_keepdims_example",
    "relu",
    "reshape_zero_dim",
    "rotary_embedding",
    "sigmoid",
    "sign",
    "size",
    "softmax_axis_1",
    "softplus",
    "split_equal_parts_1d_opset13",
    "sqrt",
    "sub_bcast",
    "swiglu_float16",
    "tanh",
    "transpose_all_permutations_1",
    "where_example",
    "xor_bcast3v2d",
]


@pytest.fixture(scope="module")
def cases() -> dict[str, NodeTest]:
    return node_tests.load()


@pytest.fixture(scope="module")
def wrapper(built: Path) -> Path:
    return built / "build/teaclave/wrapper/libwrapper.a"


@pytest.fixture(scope="module")
def laboratory(wrapper: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, wrapper)


@pytest.mark.parametrize("name", QUICK)
def test_an_operator_computes_what_onnx_says(name: str, cases: dict[str, NodeTest], laboratory: Laboratory) -> None:
    assert node_tests.judge(cases[f"test_{name}"], laboratory).kind == "passed"


def test_the_core_operators_are_among_the_tests(cases: dict[str, NodeTest]) -> None:
    assert len(cases) == 1884
    assert len(CORE) == len(set(CORE)) == 893
    assert set(CORE) <= set(cases)


# Verdicts


def case(nodes: list[onnx.NodeProto], x: np.ndarray, y: np.ndarray, **more: np.ndarray) -> NodeTest:
    """A test of nodes that make ``y`` of ``x`` and more inputs."""
    inputs = {"x": x, **more}
    described = {name: (str(it.dtype), list(it.shape)) for name, it in inputs.items()}
    made = model(nodes, described, {"y": (str(y.dtype), list(y.shape))})  # type: ignore[arg-type]
    return NodeTest("it", made, inputs, [y], 1e-3, 1e-7)


NEGATIVE = [helper.make_node("Neg", ["x"], ["y"])]
X = np.array([-1, 2, np.nan], np.float32)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([1, -2, np.nan], np.float32), ""),
        (np.array([1, -3, 1], np.float32), "output 0[1] is -2.0, not -3.0; 2 of 3 elements differ"),
        (np.array([[1, -2, np.nan]], np.float32), "output 0 is float32[3], not float32[1, 3]"),
        (np.array([1, -2, np.nan]), "output 0 is float32[3], not float64[3]"),
    ],
)
def test_a_number_a_shape_and_a_dtype_can_be_wrong(y: np.ndarray, message: str, laboratory: Laboratory) -> None:
    test = case(NEGATIVE, X, -X)
    verdict = node_tests.judge(NodeTest(test.name, test.model, test.inputs, [y], 1e-3, 1e-7), laboratory)
    assert verdict == Verdict("wrong" if message else "passed", message)


def test_a_refusal_is_no_error(laboratory: Laboratory) -> None:
    verdict = node_tests.judge(case([helper.make_node("Det", ["x"], ["y"])], X, X), laboratory)
    assert verdict.kind == "refused"
    assert "Det" in verdict.message


def test_inputs_that_decide_a_shape_become_constants(laboratory: Laboratory) -> None:
    nodes = [
        helper.make_node("Add", ["half", "half"], ["shape"]),
        helper.make_node("Add", ["x", "other"], ["sum"]),
        helper.make_node("Reshape", ["sum", "shape"], ["y"]),
    ]
    x = np.arange(4, dtype=np.int64)
    half = np.array([1, 1], np.int64)
    verdict = node_tests.judge(case(nodes, x, (x + x).reshape(2, 2), half=half, other=x), laboratory)
    assert verdict == Verdict("passed", bound=("half",))


# Workers

PATIENT = Limits(60, 2**30)


def outcome(work: Callable[[str], object], limits: Limits = PATIENT) -> dict[str, object]:
    """What comes of a piece of work named ``bad`` and of those around it, in one process."""
    done = list(workers.each(["first", "bad", "last"], work, limits, 1))
    found = {it.item: it.result for it in done}
    assert (found["first"], found["last"]) == ("first", "last")
    return found


def dies(it: str) -> str:
    if it == "bad":
        os.write(2, b"last words\n")
        os.kill(os.getpid(), signal.SIGKILL)
    return it


def leaves(it: str) -> str:
    if it == "bad":
        os._exit(3)
    return it


def hangs(it: str) -> str:
    if it == "bad":
        time.sleep(60)
    return it


def eats(it: str) -> int | str:
    return len(np.ones(2**28)) if it == "bad" else it


def raises(it: str) -> str:
    if it == "bad":
        raise ValueError("first line\nlast line")
    return it


def test_work_that_ends_its_process_is_told_of() -> None:
    assert outcome(dies)["bad"] == Broken("its process ended by SIGKILL", "last words")
    assert outcome(leaves)["bad"] == Broken("its process ended with 3", "")


@pytest.mark.slow
def test_work_that_hangs_is_ended() -> None:
    started = time.monotonic()
    assert outcome(hangs, Limits(1, 2**30))["bad"] == Broken("took longer than 1 s", "")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(("work", "reason"), [(eats, "MemoryError: "), (raises, "ValueError: last line")])
def test_work_that_raises_is_told_of(work: Callable[[str], object], reason: str) -> None:
    found = outcome(work)["bad"]
    assert isinstance(found, Broken)
    assert found.reason.startswith(reason)
    assert found.details.startswith("Traceback")


def test_all_work_is_done_by_several_processes() -> None:
    items = [str(number) for number in range(50)]
    done = list(workers.each(items, lambda it: (it, os.getpid()), PATIENT, 3))
    assert sorted(it.item for it in done) == sorted(items)
    assert all(isinstance(it.result, tuple) and it.result[0] == it.item and it.peak > 1_000_000 for it in done)
    assert os.getpid() not in {it.result[1] for it in done if isinstance(it.result, tuple)}


# The table


def test_every_class_counts(wrapper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, Callable[[], Verdict]] = {
        "test_a": lambda: Verdict("passed"),
        "test_b": lambda: Verdict("wrong", "1 is not 2"),
        "test_c": lambda: Verdict("refused", "cannot"),
        "test_d": lambda: os._exit(1),  # type: ignore[func-returns-value]
    }

    def judge(test: str, _: Laboratory) -> Verdict:
        return answers[test]()

    monkeypatch.setattr(node_tests, "judge", judge)
    tests = {name: name for name in answers}
    found = conformance.verdicts(tests, ["wasm-ld"], wrapper, 2)  # type: ignore[arg-type]
    assert {name: it.kind for name, it in found.items()} == {
        "test_a": "passed", "test_b": "wrong", "test_c": "refused", "test_d": "crashed",
    }  # fmt: skip
    values = [(row.value, row.limit, row.ok) for row in conformance.rows(found, ["test_a", "test_c"])]
    assert values == [(50, 95, False), (25, 65, False), (1, 0, False), (1, 0, False)]


def test_what_is_published_has_every_test(tmp_path: Path) -> None:
    table.publish("it", [], tmp_path, {"tests": {"test_a": {"kind": "passed"}}})
    assert json.loads((tmp_path / "it.json").read_text()) == {"rows": [], "tests": {"test_a": {"kind": "passed"}}}


def test_a_model_that_does_not_link_is_no_refusal(laboratory: Laboratory, tmp_path: Path) -> None:
    path = tmp_path / "it.onnx"
    onnx.save(case(NEGATIVE, X, X).model, path)
    made = bare_module.compiled(path, tmp_path, "it")
    made.object.write_bytes(b"\0asm\1\0\0\0")
    with pytest.raises(RuntimeError, match="does not link"):
        laboratory.run(made, {"x": X})
