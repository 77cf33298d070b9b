"""Ensembles of decision trees: for each row one kernel walks each tree down to a leaf, and adds up what those say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.script.ir_builder import tirx as T  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.loops import in_order
from onnx_wasm.compiler.frontend.refusal import Refusal

_AGAIN = "export the model again"
_COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "BRANCH_LEQ": lambda x, value: x <= value,
    "BRANCH_LT": lambda x, value: x < value,
    "BRANCH_GTE": lambda x, value: x >= value,
    "BRANCH_GT": lambda x, value: x > value,
    "BRANCH_EQ": lambda x, value: x == value,
    "BRANCH_NEQ": lambda x, value: x != value,
}
_MODES = tuple(_COMPARISONS)
_LEAF = "LEAF"


@dataclass(frozen=True)
class Forest:
    """Trees as arrays. A leaf is a node whose children are itself.

    Args:
        roots: The first node of each tree.
        depth: Steps that lead from any root to a leaf.
        modes: How each node compares, as an index of ``_MODES``.
        features: What it compares.
        values: What it compares with.
        missing: Whether it goes on to the first child where the feature is not a number.
        children: For each node, where it goes on if the comparison does not hold, and if it does.
        starts: For each node, the first of its weights; one more at the end.
        targets: What each weight is added to.
        weights: The weights, leaf by leaf.
    """

    roots: np.ndarray
    depth: int
    modes: np.ndarray
    features: np.ndarray
    values: np.ndarray
    missing: np.ndarray
    children: np.ndarray
    starts: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def forest(attributes: Mapping[str, Any], width: int, targets: int) -> Forest:
    """Reads a TreeEnsembleRegressor's attributes.

    Args:
        attributes: The attributes.
        width: The number of features.
        targets: The number of targets.

    Raises:
        Refusal: They are not trees.
    """
    trees, names = attributes["nodes_treeids"], attributes["nodes_nodeids"]
    places = {key: index for index, key in enumerate(zip(trees, names, strict=True))}
    is_leaf = np.array([mode == _LEAF for mode in attributes["nodes_modes"]])
    unknown = set(attributes["nodes_modes"]) - {*_MODES, _LEAF}
    if unknown:
        raise Refusal(f"has nodes of the mode {', '.join(sorted(unknown))}", _AGAIN)
    here = np.arange(len(places), dtype=np.int32)
    if len(here) != len(trees):
        raise Refusal("has two nodes of one name", _AGAIN)
    children = np.stack([here, here], 1)
    for at, key in enumerate(("nodes_falsenodeids", "nodes_truenodeids")):
        for index in here[~is_leaf]:
            children[index, at] = _place(places, trees[index], attributes[key][index])
    features = np.where(is_leaf, 0, np.array(attributes["nodes_featureids"], np.int64))
    if ((features < 0) | (features >= width)).any():
        raise Refusal(f"compares features that a row of {width} does not have", _AGAIN)
    roots = _roots(trees)
    starts, order = _leaves(attributes, places)
    ids = np.array(attributes["target_ids"], np.int64)
    if ((ids < 0) | (ids >= targets)).any():
        raise Refusal(f"adds to a target that is not one of its {targets}", _AGAIN)
    return Forest(
        roots,
        _depth(roots, children, is_leaf),
        np.array([0 if mode == _LEAF else _MODES.index(mode) for mode in attributes["nodes_modes"]], np.int32),
        features.astype(np.int32),
        _numbers(attributes, "nodes_values"),
        np.array(attributes.get("nodes_missing_value_tracks_true") or [0] * len(here), np.int32),
        children,
        starts,
        ids[order].astype(np.int32),
        _numbers(attributes, "target_weights")[order],
    )


def _place(places: Mapping[tuple[int, int], int], tree: int, name: int) -> int:
    if (tree, name) not in places:
        raise Refusal(f"has no node {name} in its tree {tree}", _AGAIN)
    return places[tree, name]


def _roots(trees: Sequence[int]) -> np.ndarray:
    """The first node of each tree, in the order of the trees' numbers."""
    _, first = np.unique(np.array(trees), return_index=True)
    return first.astype(np.int32)


def _depth(roots: np.ndarray, children: np.ndarray, is_leaf: np.ndarray) -> int:
    level, depth = roots, 0
    while not is_leaf[level].all():
        level, depth = np.unique(children[level]), depth + 1
        if depth > len(children):
            raise Refusal("has trees that go round in a circle", _AGAIN)
    return depth


def _leaves(attributes: Mapping[str, Any], places: Mapping[tuple[int, int], int]) -> tuple[np.ndarray, np.ndarray]:
    """Where each node's weights start, and the weights' places in the order of the nodes."""
    keys = zip(attributes["target_treeids"], attributes["target_nodeids"], strict=True)
    owners = np.array([_place(places, tree, name) for tree, name in keys], np.int64)
    counts = np.bincount(owners, minlength=len(places))
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), np.argsort(owners, kind="stable")


def _numbers(attributes: Mapping[str, Any], key: str) -> np.ndarray:
    tensor = attributes.get(f"{key}_as_tensor")
    return np.array(attributes.get(key) or () if tensor is None else tensor, np.float32)


def _convert(call: Call) -> relax.Expr:
    data, attributes = call.operand(0), call.attributes
    rows, width = (int(it) for it in data.ty.shape.values)
    targets, how = attributes["n_targets"], attributes.get("aggregate_function", "SUM")
    if attributes.get("post_transform", "NONE") != "NONE" or how not in ("SUM", "AVERAGE", "MIN", "MAX"):
        raise Refusal(f"has the post_transform {attributes['post_transform']}, aggregate_function {how}")
    its = forest(attributes, width, targets)
    names = ("roots", "modes", "features", "values", "missing", "children", "starts", "targets", "weights")
    operands = [constant(getattr(its, name).reshape(-1)) for name in names]
    results = [([rows, targets], "float32"), ([1], "int32")]

    def write(x: Any, *buffers: Any) -> None:
        _walk(its, (rows, width, targets), how, x, dict(zip((*names, "scores", "node"), buffers, strict=True)))

    numbers = data if str(data.ty.dtype) in ("float32", "float64") else call.emit(relax.op.astype(data, "float32"))
    made = call.kernel(lambda *it: in_order(results, write, *it), numbers, *operands, name="trees")
    scores = call.emit(relax.TupleGetItem(made, 0))
    if how == "AVERAGE":
        scores = call.emit(relax.op.divide(scores, constant(np.array(len(its.roots), np.float32))))
    if how in ("MIN", "MAX"):  # a target that no leaf is for
        unset = call.emit(relax.op.equal(scores, constant(_start(how))))
        scores = call.emit(relax.op.where(unset, constant(np.zeros((), np.float32)), scores))
    base = _numbers(attributes, "base_values")
    return call.emit(relax.op.add(scores, constant(base.reshape(1, -1)))) if base.size else scores


def _start(how: str) -> np.ndarray:
    """What the aggregate function of a target begins with."""
    limits = np.finfo(np.float32)
    return np.array({"MIN": limits.max, "MAX": limits.min}.get(how, 0.0), np.float32)


def _walk(its: Forest, extents: tuple[int, int, int], how: str, x: Any, buffers: Mapping[str, Any]) -> None:
    """Builds the loops over rows and trees."""
    rows, width, targets = extents
    first = tirx.const(float(_start(how)), "float32")
    combine = {"MIN": tirx.min, "MAX": tirx.max}.get(how, lambda old, new: old + new)
    scores, node = buffers["scores"], buffers["node"]
    with T.serial(0, rows) as row:
        with T.serial(0, targets) as target:
            scores[row * targets + target] = first
        with T.serial(0, len(its.roots)) as tree:
            node[0] = buffers["roots"][tree]
            with T.serial(0, its.depth):
                node[0] = buffers["children"][node[0] * 2 + _holds(its, x, row * width, node[0], buffers)]
            start, end = buffers["starts"][node[0]], buffers["starts"][node[0] + 1]
            with T.serial(0, end - start) as index:
                at = row * targets + buffers["targets"][start + index]
                scores[at] = combine(scores[at], buffers["weights"][start + index])


def _holds(its: Forest, x: Any, start: Any, node: Any, buffers: Mapping[str, Any]) -> Any:
    """1 if a node's comparison holds, 0 if not."""
    feature, value = x[start + buffers["features"][node]], buffers["values"][node]
    value = value.astype(feature.ty.dtype)
    used = sorted({int(it) for it in its.modes}) or [0]
    holds = _COMPARISONS[_MODES[used[0]]](feature, value)
    for mode in used[1:]:
        holds = tirx.Select(buffers["modes"][node] == mode, _COMPARISONS[_MODES[mode]](feature, value), holds)
    answer = holds.astype("int32")
    return tirx.Select(tirx.isnan(feature), buffers["missing"][node], answer) if its.missing.any() else answer


CONVERTERS: dict[tuple[str, str], Converter] = {("ai.onnx.ml", "TreeEnsembleRegressor"): _convert}
