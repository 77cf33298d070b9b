"""What of ai.onnx.ml ONNX's reference implementation does not know, held against onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from support import model

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest, Verdict

RANDOM = np.random.default_rng(3)
ML = "ai.onnx.ml"
X = RANDOM.standard_normal((40, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def built_of(nodes: list[onnx.NodeProto], x: np.ndarray, y: dict[str, np.ndarray], version: int) -> onnx.ModelProto:
    described = {name: (str(it.dtype), list(it.shape)) for name, it in y.items()}
    made: onnx.ModelProto = model(nodes, {"x": (str(x.dtype), list(x.shape))}, described, opset=17)
    made.opset_import.append(helper.make_opsetid(ML, version))
    return made


def judged(
    nodes: list[onnx.NodeProto],
    x: np.ndarray,
    laboratory: Laboratory,
    outputs: tuple[str, ...] = ("y",),
    version: int = 3,
) -> Verdict:
    """What comes of a model, what it must give by onnxruntime."""
    unknown = {name: np.zeros(0, np.float32) for name in outputs}
    reference = built_of(nodes, x, unknown, version)
    for value in reference.graph.output:
        value.ClearField("type")
    session = onnxruntime.InferenceSession(reference.SerializeToString(), providers=["CPUExecutionProvider"])
    wanted = [np.asarray(it) for it in session.run(list(outputs), {"x": x})]
    made = built_of(nodes, x, dict(zip(outputs, wanted, strict=True)), version)
    return node_tests.judge(NodeTest("classical", made, {"x": x}, wanted, 1e-5, 1e-6), laboratory)


def ml(operator: str, *inputs: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs or ("x",), outputs, domain=ML, **attributes)


def trees(
    kind: str,
    count: int,
    depth: int,
    ids: list[int],
    *,
    modes: tuple[str, ...] = ("BRANCH_LEQ",),
    low: float = -1,
    missing: bool = False,
) -> dict[str, Any]:
    """Attributes of full random trees, whose leaves have a weight for each of ``ids``."""
    inner = 2**depth - 1
    nodes = 2 * inner + 1
    every = [(tree, node) for tree in range(count) for node in range(nodes)]
    leaves = [it for it in every if it[1] >= inner]
    is_leaf = [node >= inner for _, node in every]
    values = np.round(RANDOM.standard_normal(len(every)), 1)
    return {
        "nodes_treeids": [tree for tree, _ in every],
        "nodes_nodeids": [node for _, node in every],
        "nodes_featureids": RANDOM.integers(0, 4, len(every)).tolist(),
        "nodes_values": values.tolist(),
        "nodes_modes": ["LEAF" if leaf else modes[at % len(modes)] for at, leaf in enumerate(is_leaf)],
        "nodes_truenodeids": [0 if leaf else 2 * node + 1 for (_, node), leaf in zip(every, is_leaf, strict=True)],
        "nodes_falsenodeids": [0 if leaf else 2 * node + 2 for (_, node), leaf in zip(every, is_leaf, strict=True)],
        "nodes_missing_value_tracks_true": [int(missing and at % 2) for at in range(len(every))],
        "nodes_hitrates": [1.0] * len(every),
        f"{kind}_treeids": [tree for tree, _ in leaves for _ in ids],
        f"{kind}_nodeids": [node for _, node in leaves for _ in ids],
        f"{kind}_ids": ids * len(leaves),
        f"{kind}_weights": RANDOM.uniform(low, 1, len(ids) * len(leaves)).astype(np.float32).tolist(),
    }


REGRESSORS: dict[str, dict[str, Any]] = {
    "a softmax": {"post_transform": "SOFTMAX"},
    "a softmax of what is not zero": {"post_transform": "SOFTMAX_ZERO"},
    "a logistic function": {"post_transform": "LOGISTIC"},
    "the greatest": {"aggregate_function": "MAX"},
    "the smallest": {"aggregate_function": "MIN"},
}


@pytest.mark.parametrize("name", REGRESSORS)
def test_what_trees_say_is_aggregated_and_transformed(name: str, laboratory: Laboratory) -> None:
    """Also of a target that no leaf is for."""
    node = ml("TreeEnsembleRegressor", n_targets=3, **trees("target", 7, 3, [0, 2]), **REGRESSORS[name])
    verdict = judged([node], X, laboratory)
    assert verdict.kind == "passed", verdict


FEATURES: dict[str, tuple[onnx.NodeProto, np.ndarray]] = {
    "imputed": (
        ml("Imputer", imputed_value_floats=[1.0, 2.0, 3.0, 4.0], replaced_value_float=float("nan")),
        np.where(X > 1, np.nan, X).astype(np.float32),
    ),
    "imputed integers": (
        ml("Imputer", imputed_value_int64s=[5], replaced_value_int64=-1),
        RANDOM.integers(-2, 2, (9, 3)),
    ),
    "one-hot": (ml("OneHotEncoder", cats_int64s=[3, 1, 2], zeros=1), RANDOM.integers(0, 5, (4, 1))),
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_become_what_onnxruntime_makes_of_them(name: str, laboratory: Laboratory) -> None:
    node, x = FEATURES[name]
    verdict = judged([node], x, laboratory)
    assert verdict.kind == "passed", verdict


def test_features_stand_beside_each_other(laboratory: Laboratory) -> None:
    nodes = [ml("Scaler", "x", outputs=("s",), scale=[2.0], offset=[0.0])]
    nodes += [ml("FeatureVectorizer", "x", "s", inputdimensions=[4, 4])]
    assert judged(nodes, X, laboratory, version=1).kind == "passed"


def test_labels_that_are_text_become_their_places(laboratory: Laboratory) -> None:
    """Of a classifier, and of a list that labels are picked out of; a map's keys are its columns."""
    words = numpy_helper.from_array(np.array(["cat", "dog", "eel"], object), "labels")
    coefficients = RANDOM.standard_normal(12).astype(np.float32)
    nodes = [
        ml(
            *("LinearClassifier", "x"), outputs=("label", "scores"), coefficients=coefficients.tolist(),
            classlabels_strings=["cat", "dog", "eel"],
        ),
        helper.make_node("ArgMax", ["scores"], ["best"], axis=1, keepdims=0),
        ml("ArrayFeatureExtractor", "labels", "best", outputs=("picked",)),
        ml("ZipMap", "scores", outputs=("maps",), classlabels_strings=["cat", "dog", "eel"]),
    ]  # fmt: skip
    scores = X @ coefficients.reshape(3, 4).T
    best = scores.argmax(axis=1)
    made = built_of(nodes, X, {"label": best, "picked": best.reshape(1, -1), "maps": scores}, 1)
    keyed = helper.make_map_type_proto(
        onnx.TensorProto.STRING, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, [])
    )
    made.graph.output[2].CopyFrom(helper.make_value_info("maps", helper.make_sequence_type_proto(keyed)))
    made.graph.initializer.append(words)
    test = NodeTest("text", made, {"x": X}, [best, best.reshape(1, -1), scores], 1e-5, 1e-6)
    verdict = node_tests.judge(test, laboratory)
    assert verdict.kind == "passed", verdict
