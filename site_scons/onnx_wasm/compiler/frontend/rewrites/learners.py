"""ai.onnx.ml: what scikit-learn and its like export, as products, distances and comparisons; labels are numbers.

Of labels that are text a module gives the places in the list that the model has: text is left to whoever calls it.
Trees become one operator, TreeEnsembleRegressor, which has a converter. Source of what each operator computes:
https://onnx.ai/onnx/operators and ``onnx.reference.ops.aionnxml``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from onnx_wasm.compiler.frontend import splice
from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

DOMAIN = "ai.onnx.ml"
_OPSET = 18
_TREES_OPSET = 3  # the one whose trees ONNX tells the shapes of
_SMALLEST_NORM = 1e-30
_ZERO = 1e-7  # what SOFTMAX_ZERO takes for nothing
_NUMBERS_HINT = "export the model with labels that are numbers"


def _nodes(scope: Scope) -> Nodes:
    scope.opsets = {**scope.opsets, "": _OPSET, DOMAIN: _TREES_OPSET}
    return Nodes(scope)


def _floats(nodes: Nodes, scope: Scope, name: str) -> str:
    """A tensor as float32; one of float64 stays."""
    type_ = scope.type(name)
    is_wide = type_ is not None and type_.dtype == "float64"
    return name if is_wide or (type_ is not None and type_.dtype == "float32") else _cast(nodes, name)


def _cast(nodes: Nodes, name: str) -> str:
    return nodes.add("Cast", name, to=onnx.TensorProto.FLOAT)


def _width(scope: Scope, node: Node) -> int:
    """The number of features: the extent of the input's last axis."""
    type_ = scope.type(node.proto.input[0])
    if type_ is None or len(type_.shape) != 2:
        raise Refusal("takes a matrix, one row for each sample", "export the model again")
    return type_.shape[1]


def _labels(attributes: Mapping[str, Any], key: str, count: int) -> np.ndarray:
    """The labels of classes; their numbers, if there are none, or if they are text."""
    if attributes.get("classlabels_strings"):
        return np.arange(len(attributes["classlabels_strings"]), dtype=np.int64)
    return np.array(attributes.get(key) or (range(count) if count > 1 else [1]), np.int64)


def _transformed(nodes: Nodes, scores: str, how: str, output: str = "") -> str:
    """Scores after ``post_transform``."""

    def number(value: float) -> np.ndarray:
        return np.array(value, np.float32)

    match how:
        case "NONE":
            return nodes.add("Identity", scores, output=output) if output else scores
        case "LOGISTIC":
            return nodes.add("Sigmoid", scores, output=output)
        case "SOFTMAX":
            return nodes.add("Softmax", scores, output=output, axis=1)
        case "SOFTMAX_ZERO":
            most = nodes.add("ReduceMax", scores, np.array([1]), keepdims=1)
            power = nodes.add("Exp", nodes.add("Sub", scores, most))
            nothing = nodes.add("Mul", scores, nodes.add("Exp", nodes.add("Neg", most)))
            counts = nodes.add("Greater", nodes.add("Abs", scores), number(_ZERO))
            values = nodes.add("Where", counts, power, nothing)
            total = nodes.add("ReduceSum", values, np.array([1]), keepdims=1)
            empty = nodes.add("Equal", total, number(0))
            shares = nodes.add("Div", values, nodes.add("Where", empty, number(1), total))
            return nodes.add("Where", empty, number(0.5), shares, output=output)
        case "PROBIT":
            x = nodes.add("Sub", nodes.add("Mul", scores, number(2)), number(1))
            left, right = nodes.add("Sub", number(1), x), nodes.add("Add", number(1), x)
            log = nodes.add("Log", nodes.add("Mul", left, right))
            first = nodes.add("Add", nodes.add("Mul", log, number(0.5)), number(2 / (math.pi * 0.147)))
            second = nodes.add("Div", log, number(0.147))
            root = nodes.add("Sqrt", nodes.add("Sub", nodes.add("Mul", first, first), second))
            size = nodes.add("Sqrt", nodes.add("Sub", root, first))
            sign = nodes.add("Sign", x)
            return nodes.add("Mul", nodes.add("Mul", size, sign), number(1.41421356), output=output)
    raise Refusal(f'has the post_transform "{how}"')


def _largest(nodes: Nodes, scores: str, labels: np.ndarray, output: str) -> None:
    """The label of each row's largest score."""
    nodes.add("Gather", labels, nodes.add("ArgMax", scores, axis=1, keepdims=0), output=output)


def _both(nodes: Nodes, score: str) -> str:
    """The scores of two classes, by that of the second."""
    return nodes.add("Concat", nodes.add("Neg", score), score, axis=1)


def _linear_classifier(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes, width = node.attributes(), _width(scope, node)
    coefficients = np.array(attributes["coefficients"], np.float32).reshape(-1, width)
    labels = _labels(attributes, "classlabels_ints", len(coefficients))
    nodes = _nodes(scope)
    scores = nodes.add("MatMul", _floats(nodes, scope, node.proto.input[0]), coefficients.T)
    if attributes.get("intercepts"):
        scores = nodes.add("Add", scores, np.array(attributes["intercepts"], np.float32))
    how, (label, *rest) = attributes["post_transform"], node.proto.output
    if len(coefficients) == 1 and len(labels) == 2:
        scores = _both(nodes, scores)
    scores = _transformed(nodes, scores, how, rest[0] if rest else "")
    if label and len(coefficients) == 1 and len(labels) == 1:
        least = np.array(0 if how == "NONE" else 0.5, np.float32)
        is_it = nodes.add("GreaterOrEqual", nodes.add("Reshape", scores, np.array([-1])), least)
        nodes.add("Where", is_it, labels[0], np.array(0, np.int64), output=label)
    elif label:
        _largest(nodes, scores, labels, label)
    return nodes.made


def _linear_regressor(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes = node.attributes()
    coefficients = np.array(attributes["coefficients"], np.float32).reshape(attributes["targets"], -1)
    nodes = _nodes(scope)
    scores = nodes.add("MatMul", _floats(nodes, scope, node.proto.input[0]), coefficients.T)
    if attributes.get("intercepts"):
        scores = nodes.add("Add", scores, np.array(attributes["intercepts"], np.float32))
    _transformed(nodes, scores, attributes["post_transform"], node.proto.output[0])
    return nodes.made


def _scaler(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes = node.attributes()
    offset, scale = (np.array(attributes[key], np.float32) for key in ("offset", "scale"))
    nodes = _nodes(scope)
    centred = nodes.add("Sub", _cast(nodes, node.proto.input[0]), offset)
    nodes.add("Mul", centred, scale, output=node.proto.output[0])
    return nodes.made


def _normalizer(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    _width(scope, node)
    how = node.attributes()["norm"]
    nodes, axis = _nodes(scope), np.array([1])
    data = _cast(nodes, node.proto.input[0])
    match how:
        case "MAX":
            norm = nodes.add("ReduceMax", nodes.add("Abs", data), axis, keepdims=1)
        case "L1" | "L2":
            norm = nodes.add(f"Reduce{how}", data, axis, keepdims=1)
        case _:
            raise Refusal(f'has the norm "{how}"')
    divisor = nodes.add("Max", norm, np.array(_SMALLEST_NORM, np.float32))
    nodes.add("Div", data, divisor, output=node.proto.output[0])
    return nodes.made


def _binarizer(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    data = node.proto.input[0]
    type_ = scope.type(data)
    if type_ is None:
        return None
    threshold = np.array(node.attributes()["threshold"], type_.dtype)
    nodes = _nodes(scope)
    above = nodes.add("Greater", data, threshold)
    nodes.add("Where", above, *(np.array(it, type_.dtype) for it in (1, 0)), output=node.proto.output[0])
    return nodes.made


def _array_feature_extractor(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    data, places = node.proto.input
    labels, type_ = scope.value(data), scope.type(data)
    nodes = _nodes(scope)
    flat = nodes.add("Reshape", places, np.array([-1]))
    if labels is not None and labels.dtype == object:
        nodes.add("Unsqueeze", flat, np.array([0]), output=node.proto.output[0])
        return nodes.made
    if type_ is None:
        return None
    data = data if len(type_.shape) > 1 else nodes.add("Reshape", data, np.array([1, -1]))
    nodes.add("Gather", data, flat, output=node.proto.output[0], axis=-1)
    return nodes.made


def _zip_map(_: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    """A module gives tensors: in place of maps from labels to scores, the scores, a column for each label."""
    return [splice.identity(node.proto.input[0], node.proto.output[0])]


def _label_encoder(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes = node.attributes()
    keys, values = (_list_of(attributes, part) for part in ("keys", "values"))
    dtype = values.dtype.type
    if "default_tensor" in attributes and attributes.get("values_tensor") is not None:
        default = np.asarray(attributes["default_tensor"], dtype).reshape(())
    else:
        default = np.array(attributes["default_float" if dtype is np.float32 else "default_int64"], dtype)
    unique = {key: value for key, value in zip(keys.tolist(), values, strict=True)}  # noqa: C416 - the last one counts
    nodes = _nodes(scope)
    each = nodes.add("Unsqueeze", node.proto.input[0], np.array([-1]))
    alike = nodes.add("Cast", nodes.add("Equal", each, np.array(list(unique), keys.dtype)), to=onnx.TensorProto.INT64)
    is_known = nodes.add("Cast", nodes.add("ReduceMax", alike, np.array([-1]), keepdims=0), to=onnx.TensorProto.BOOL)
    found = nodes.add("Gather", np.array(list(unique.values()), dtype), nodes.add("ArgMax", alike, axis=-1, keepdims=0))
    nodes.add("Where", is_known, found, default, output=node.proto.output[0])
    return nodes.made


def _list_of(attributes: Mapping[str, Any], part: str) -> np.ndarray:
    """A LabelEncoder's keys or values."""
    for ending, dtype in (("int64s", np.int64), ("floats", np.float32)):
        if attributes.get(f"{part}_{ending}"):
            return np.array(attributes[f"{part}_{ending}"], dtype)
    tensor = attributes.get(f"{part}_tensor")
    if tensor is None or np.asarray(tensor).dtype.kind not in "iuf":
        raise Refusal(f"has {part} that are text", _NUMBERS_HINT)
    return np.asarray(tensor).reshape(-1)


# Support vectors


def _kernel(nodes: Nodes, x: str, vectors: np.ndarray, attributes: Mapping[str, Any]) -> str:
    """How near each row is to each of the support vectors [vectors, features]: [rows, vectors]."""
    gamma, shift, degree = (*map(float, attributes.get("kernel_params") or ()), *[0.0] * 3)[:3]
    how = attributes["kernel_type"]
    if how == "RBF":
        distances = nodes.add("Sub", nodes.add("Unsqueeze", x, np.array([1])), vectors[np.newaxis])
        squares = nodes.add("ReduceSumSquare", distances, np.array([2]), keepdims=0)
        return nodes.add("Exp", nodes.add("Mul", squares, np.array(-gamma, np.float32)))
    product = nodes.add("MatMul", x, np.ascontiguousarray(vectors.T))
    if how == "LINEAR":
        return product
    scaled = nodes.add("Mul", product, np.array(gamma, np.float32))
    shifted = nodes.add("Add", scaled, np.array(shift, np.float32))
    if how == "POLY":
        return nodes.add("Pow", shifted, np.array(int(degree), np.float32))
    if how == "SIGMOID":
        return nodes.add("Tanh", shifted)
    raise Refusal(f'has the kernel_type "{how}"')


def _svm_regressor(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes, width = node.attributes(), _width(scope, node)
    coefficients = np.array(attributes["coefficients"], np.float32).reshape(-1, 1)
    nodes = _nodes(scope)
    x = _cast(nodes, node.proto.input[0])
    if attributes["n_supports"]:
        vectors = np.array(attributes["support_vectors"], np.float32).reshape(attributes["n_supports"], width)
        x = _kernel(nodes, x, vectors, attributes)
    scores = nodes.add("Add", nodes.add("MatMul", x, coefficients), np.array(attributes["rho"][:1], np.float32))
    if attributes["one_class"]:
        is_inside = nodes.add("Greater", scores, np.array(0, np.float32))
        scores = nodes.add("Where", is_inside, *(np.array(it, np.float32) for it in (1, -1)))
    _transformed(nodes, scores, attributes["post_transform"], node.proto.output[0])
    return nodes.made


def _svm_classifier(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    """One product gives the score of each pair of classes; the class that wins most pairs is the label."""
    attributes, width = node.attributes(), _width(scope, node)
    sizes = attributes.get("vectors_per_class") or []
    labels = _labels(attributes, "classlabels_ints", len(sizes))
    if not sizes or len(sizes) != len(labels):
        raise Refusal("has no support vectors for each of its classes", "export it as a LinearClassifier")
    if attributes.get("prob_a"):
        hint = "train the classifier without probability=True; its labels and scores are the same"
        raise Refusal("gives probabilities that are found by trial", hint)
    count, (label, *rest) = sum(sizes), node.proto.output
    vectors = np.array(attributes["support_vectors"], np.float32).reshape(count, width)
    pairs = [(i, j) for i in range(len(labels)) for j in range(i + 1, len(labels))]
    nodes = _nodes(scope)
    near = _kernel(nodes, _cast(nodes, node.proto.input[0]), vectors, attributes)
    weighed = nodes.add("MatMul", near, _of_pairs(attributes["coefficients"], sizes, pairs))
    scores = nodes.add("Add", weighed, np.array(attributes["rho"], np.float32))
    if label:
        won = nodes.add("Cast", nodes.add("Greater", scores, np.array(0, np.float32)), to=onnx.TensorProto.FLOAT)
        votes = np.zeros((len(pairs), len(labels)), np.float32)
        for index, (i, j) in enumerate(pairs):
            votes[index, i], votes[index, j] = 1, -1
        lost = -votes.clip(max=0).sum(0)
        if len(labels) == 2 and min(attributes["coefficients"]) >= 0:
            lost = np.array([0, 3], np.float32)  # by definition the second then, whatever it wins
        _largest(nodes, nodes.add("Add", nodes.add("MatMul", won, votes), lost), labels, label)
    if rest and rest[0]:
        scores = _both(nodes, scores) if len(pairs) == 1 else scores
        _transformed(nodes, scores, attributes["post_transform"], rest[0])
    return nodes.made


def _of_pairs(coefficients: Sequence[float], sizes: Sequence[int], pairs: Sequence[tuple[int, int]]) -> np.ndarray:
    """The weight of each support vector for each pair of classes: [vectors, pairs]."""
    ends = np.cumsum(sizes)
    table = np.array(coefficients, np.float32).reshape(-1, ends[-1])
    made = np.zeros((ends[-1], len(pairs)), np.float32)
    for index, (i, j) in enumerate(pairs):
        for own, other in ((i, j - 1), (j, i)):
            part = slice(ends[own] - sizes[own], ends[own])
            made[part, index] = table[other, part]
    return made


# Trees


def _tree_classifier(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    attributes = node.attributes()
    classes, is_binary = attributes["class_ids"], len(set(attributes["class_ids"])) == 1
    labels = _labels(attributes, "classlabels_int64s", len(set(classes)))
    if is_binary and (classes[0] != 0 or len(labels) > 2):
        raise Refusal(f"adds to class {classes[0]} of {len(labels)} alone", "export the model again")
    width = 1 if is_binary else len(labels)
    of_trees = {f"target_{key}": attributes[f"class_{key}"] for key in ("nodeids", "treeids")}
    of_trees["target_ids"] = [0] * len(classes) if is_binary else classes
    for key in ("weights", "weights_as_tensor"):
        if f"class_{key}" in attributes:
            of_trees[f"target_{key}"] = attributes[f"class_{key}"]
    kept = {key: it for key, it in attributes.items() if key.startswith(("nodes_", "base_values"))}
    if is_binary and "base_values" in kept:
        kept["base_values"] = kept["base_values"][:1]
    nodes, how, (label, *rest) = _nodes(scope), attributes["post_transform"], node.proto.output
    scores = scope.fresh("trees")
    nodes.made.append(_trees(node.proto.input[0], scores, width, {**kept, **of_trees}))
    if is_binary and how in ("NONE", "PROBIT"):
        scores = nodes.add("Concat", nodes.add("Sub", np.array(1, np.float32), scores), scores, axis=1)
    elif is_binary:
        scores = _both(nodes, scores)
    scores = _transformed(nodes, scores, how, rest[0] if rest else "")
    if label:
        _largest(nodes, scores, labels if len(labels) > 1 else np.array([0, 1]), label)
    return nodes.made


def _tree_regressor(scope: Scope, node: Node) -> Sequence[onnx.NodeProto] | None:
    attributes = node.attributes()
    how = attributes["post_transform"]
    if node.opset == _TREES_OPSET and how == "NONE":
        return None
    nodes, scores = _nodes(scope), scope.fresh("trees") if how != "NONE" else node.proto.output[0]
    kept = {key: it for key, it in attributes.items() if key not in ("n_targets", "post_transform")}
    nodes.made.append(_trees(node.proto.input[0], scores, attributes["n_targets"], kept))
    if how != "NONE":
        _transformed(nodes, scores, how, node.proto.output[0])
    return nodes.made


def _trees(source: str, output: str, targets: int, attributes: Mapping[str, Any]) -> onnx.NodeProto:
    plain = {
        key: onnx.numpy_helper.from_array(it) if isinstance(it, np.ndarray) else it for key, it in attributes.items()
    }
    return helper.make_node("TreeEnsembleRegressor", [source], [output], domain=DOMAIN, n_targets=targets, **plain)


REWRITES: dict[tuple[str, str], Rewrite] = {
    (DOMAIN, "ArrayFeatureExtractor"): _array_feature_extractor,
    (DOMAIN, "Binarizer"): _binarizer,
    (DOMAIN, "LabelEncoder"): _label_encoder,
    (DOMAIN, "LinearClassifier"): _linear_classifier,
    (DOMAIN, "LinearRegressor"): _linear_regressor,
    (DOMAIN, "Normalizer"): _normalizer,
    (DOMAIN, "SVMClassifier"): _svm_classifier,
    (DOMAIN, "SVMRegressor"): _svm_regressor,
    (DOMAIN, "Scaler"): _scaler,
    (DOMAIN, "TreeEnsembleClassifier"): _tree_classifier,
    (DOMAIN, "TreeEnsembleRegressor"): _tree_regressor,
    (DOMAIN, "ZipMap"): _zip_map,
}
