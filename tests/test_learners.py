"""ai.onnx.ml: what a module computes is what ONNX's reference implementation computes; what is no tree is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator

from onnx_wasm import toolchain
from onnx_wasm.benchmarks import node_tests
from onnx_wasm.benchmarks.bare_module import Laboratory
from onnx_wasm.benchmarks.node_tests import NodeTest, Verdict

RANDOM = np.random.default_rng(11)
X = RANDOM.standard_normal((6, 4)).astype("float32")
TRANSFORMS = ["NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"]
ROUND = np.float32([[1, 0, 2, 5], [3, 3, 7, -1]])


def floats(*shape: int) -> list[float]:
    return [float(it) for it in RANDOM.standard_normal(shape).astype("float32").reshape(-1)]


TREES: dict[str, Any] = {
    "nodes_treeids": [3, 3, 3, 3, 3, 1, 1, 1],
    "nodes_nodeids": [0, 1, 2, 3, 4, 0, 7, 8],
    "nodes_featureids": [0, 2, 0, 0, 0, 1, 0, 0],
    "nodes_modes": ["BRANCH_LEQ", "BRANCH_LEQ", "LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_values": [0.1, -0.2, 0.0, 0.0, 0.0, 0.3, 0.0, 0.0],
    "nodes_truenodeids": [1, 2, 0, 0, 0, 7, 0, 0],
    "nodes_falsenodeids": [4, 3, 0, 0, 0, 8, 0, 0],
}
LEAVES = {"treeids": [3, 3, 3, 3, 1, 1], "nodeids": [2, 3, 4, 4, 7, 8], "weights": [0.1, 0.4, 0.25, 0.5, 0.125, 0.75]}
REGRESSOR = {**TREES, **{f"target_{key}": it for key, it in LEAVES.items()}, "target_ids": [0, 1, 2, 0, 1, 2]}
CLASSIFIER = {
    **TREES,
    **{f"class_{key}": it for key, it in LEAVES.items()},
    "class_ids": [0, 1, 2, 0, 1, 2],
    "classlabels_int64s": [10, 20, 30],
}
BINARY = {**CLASSIFIER, "class_ids": [0] * 6, "classlabels_int64s": [0, 1]}
SVM = {"support_vectors": floats(5, 4), "kernel_params": [0.3, 0.1, 2.0]}
SVC = {
    **SVM,
    "coefficients": floats(2, 5),
    "vectors_per_class": [2, 2, 1],
    "rho": floats(3),
    "classlabels_ints": [5, 6, 7],
}


@pytest.fixture(scope="module")
def laboratory(built: Path) -> Laboratory:
    return Laboratory(toolchain.find().linker.command, built / "build/teaclave/wrapper/libwrapper.a")


def judge(
    laboratory: Laboratory,
    operator: str,
    x: np.ndarray,
    *more: np.ndarray,
    outputs: int = 1,
    opset: int = 3,
    **how: Any,
) -> Verdict:
    """Compiles one operator and holds it against ONNX's reference implementation."""
    values = {"x": x, **{f"x{index}": it for index, it in enumerate(more)}}
    names = [f"y{index}" for index in range(outputs)]
    node = helper.make_node(operator, list(values), names, domain="ai.onnx.ml", **how)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(it.dtype), it.shape)
        for name, it in values.items()
    ]
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name=name) for name in names])
    imports = [helper.make_opsetid("ai.onnx.ml", opset), helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=8)
    wanted = ReferenceEvaluator(model).run(None, values)
    for name, it in zip(graph.output, wanted, strict=True):
        name.CopyFrom(helper.make_tensor_value_info(name.name, helper.np_dtype_to_tensor_dtype(it.dtype), it.shape))
    made = helper.make_model(graph, opset_imports=imports, ir_version=8)
    return node_tests.judge(NodeTest("it", made, values, wanted, 1e-4, 1e-6), laboratory)


@pytest.mark.parametrize("how", TRANSFORMS)
def test_linear_classifiers(how: str, laboratory: Laboratory) -> None:
    x = np.abs(X) / 20 + 0.01 if how == "PROBIT" else X
    weights = [abs(it) for it in floats(3, 4)]
    its = {"coefficients": weights, "intercepts": [0.1, 0.2, 0.3], "classlabels_ints": [3, 1, 2], "post_transform": how}
    assert judge(laboratory, "LinearClassifier", x, outputs=2, **its) == Verdict("passed")


@pytest.mark.parametrize("labels", [[4, 9], [1]])
def test_linear_classifiers_of_one_row(labels: list[int], laboratory: Laboratory) -> None:
    its = {"coefficients": floats(4), "intercepts": [0.1], "classlabels_ints": labels, "post_transform": "LOGISTIC"}
    assert judge(laboratory, "LinearClassifier", X, outputs=2, **its) == Verdict("passed")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_rows_of_other_dtypes(dtype: str, laboratory: Laboratory) -> None:
    x = (X * 5).astype(dtype)
    weights = {"coefficients": floats(3, 4), "intercepts": floats(3)}
    assert judge(laboratory, "LinearClassifier", x, outputs=2, **weights).kind in ("passed", "refused")
    assert judge(laboratory, "TreeEnsembleClassifier", x, outputs=2, **CLASSIFIER) == Verdict("passed")


def test_regressors(laboratory: Laboratory) -> None:
    its = {"coefficients": floats(2, 4), "intercepts": [0.5, -1.0], "targets": 2}
    assert judge(laboratory, "LinearRegressor", X, **its) == Verdict("passed")


@pytest.mark.parametrize("norm", ["MAX", "L1", "L2"])
def test_normalizers(norm: str, laboratory: Laboratory) -> None:
    x = np.concatenate([X, np.zeros((1, 4), "float32")])
    assert judge(laboratory, "Normalizer", x, norm=norm) == Verdict("passed")


def test_scalers_binarizers_and_extractors(laboratory: Laboratory) -> None:
    scale = {"offset": floats(4), "scale": floats(4)}
    assert judge(laboratory, "Scaler", X, **scale) == Verdict("passed")
    assert judge(laboratory, "Binarizer", X, threshold=0.25) == Verdict("passed")
    for x in (X, X[0]):
        assert judge(laboratory, "ArrayFeatureExtractor", x, np.array([[3, 0]])) == Verdict("passed")


@pytest.mark.parametrize(
    "how",
    [
        {"keys_int64s": [1, 3, 7], "values_floats": [0.5, 1.5, 2.5], "default_float": -1.0},
        {"keys_int64s": [1, 3, 3], "values_int64s": [10, 30, 31], "default_int64": 99},
    ],
)
def test_label_encoders(how: dict[str, Any], laboratory: Laboratory) -> None:
    assert judge(laboratory, "LabelEncoder", ROUND.astype("int64"), opset=2, **how) == Verdict("passed")


@pytest.mark.parametrize("kernel", ["LINEAR", "POLY", "RBF", "SIGMOID"])
def test_support_vectors(kernel: str, laboratory: Laboratory) -> None:
    regressor = {**SVM, "coefficients": floats(5), "rho": [0.2], "n_supports": 5, "kernel_type": kernel}
    assert judge(laboratory, "SVMRegressor", X, **regressor) == Verdict("passed")
    assert judge(laboratory, "SVMClassifier", X, outputs=2, kernel_type=kernel, **SVC) == Verdict("passed")


@pytest.mark.parametrize("sign", [-1, 1])
def test_support_vectors_of_two_classes(sign: int, laboratory: Laboratory) -> None:
    its = {
        **SVM,
        "coefficients": [abs(it) * sign for it in floats(5)],
        "vectors_per_class": [3, 2],
        "rho": [0.1],
        "classlabels_ints": [5, 6],
        "kernel_type": "RBF",
    }
    assert judge(laboratory, "SVMClassifier", X, outputs=2, **its) == Verdict("passed")


@pytest.mark.parametrize("opset", [1, 3])
@pytest.mark.parametrize("how", ["SUM", "MIN", "MAX"])
def test_regressing_trees(how: str, opset: int, laboratory: Laboratory) -> None:
    # Every target has a leaf in each tree: of one that has none, ONNX does not say what the least is.
    its = {**REGRESSOR, "target_ids": [0] * 6, "n_targets": 1, "aggregate_function": how, "base_values": [0.5]}
    assert judge(laboratory, "TreeEnsembleRegressor", X, opset=opset, **its) == Verdict("passed")


def test_trees_of_several_targets(laboratory: Laboratory) -> None:
    its = {**REGRESSOR, "n_targets": 3, "aggregate_function": "AVERAGE"}
    assert judge(laboratory, "TreeEnsembleRegressor", X, **its) == Verdict("passed")


@pytest.mark.parametrize("how", TRANSFORMS[:-1])
@pytest.mark.parametrize("its", [CLASSIFIER, BINARY], ids=["three classes", "two"])
def test_classifying_trees(its: dict[str, Any], how: str, laboratory: Laboratory) -> None:
    assert judge(laboratory, "TreeEnsembleClassifier", X, outputs=2, post_transform=how, **its) == Verdict("passed")


@pytest.mark.parametrize("mode", ["BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"])
def test_comparisons_and_missing_features(mode: str, laboratory: Laboratory) -> None:
    x = np.concatenate([X, np.float32([[0.1, 0.3, -0.2, 0], [np.nan, 0, np.nan, 0]])])
    modes = ["BRANCH_LEQ" if it != "LEAF" and index else it for index, it in enumerate(TREES["nodes_modes"])]
    its = {**REGRESSOR, "n_targets": 3, "nodes_modes": [mode, *modes[1:]]}
    its["nodes_missing_value_tracks_true"] = [1, 0, 0, 0, 0, 1, 0, 0]
    assert judge(laboratory, "TreeEnsembleRegressor", x, **its) == Verdict("passed")


@pytest.mark.parametrize(
    ("key", "index", "value", "message"),
    [
        ("nodes_truenodeids", 0, 0, "go round in a circle"),
        ("nodes_truenodeids", 0, 99, "has no node 99 in its tree 3"),
        ("nodes_featureids", 0, 4, "compares features that a row of 4 does not have"),
        ("nodes_featureids", 1, -1, "compares features that a row of 4 does not have"),
        ("target_ids", 0, 3, "adds to a target that is not one of its 3"),
        ("target_nodeids", 0, 99, "has no node 99 in its tree 3"),
        ("nodes_nodeids", 1, 0, "has two nodes of one name"),
        ("nodes_modes", 0, "BRANCH_MEMBER", "has nodes of the mode BRANCH_MEMBER"),
    ],
)
def test_what_is_no_forest_is_refused(key: str, index: int, value: Any, message: str, laboratory: Laboratory) -> None:
    its: dict[str, Any] = {**REGRESSOR, "n_targets": 3}
    its[key] = [value if at == index else it for at, it in enumerate(its[key])]
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **its)
    x, y = (helper.make_tensor_value_info(name, 1, shape) for name, shape in (("x", [6, 4]), ("y", [6, 3])))
    imports = [helper.make_opsetid("ai.onnx.ml", 3), helper.make_opsetid("", 18)]
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=imports, ir_version=8)
    verdict = node_tests.judge(NodeTest("it", model, {"x": X}, [X], 1e-4, 1e-6), laboratory)
    assert verdict.kind == "refused"
    assert message in verdict.message
