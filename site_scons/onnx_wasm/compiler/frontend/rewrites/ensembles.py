"""TreeEnsemble, version 5 of trees, as TreeEnsembleRegressor, whose nodes and leaves are one list.

Definition: https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from onnx_wasm.compiler.frontend.graph import Node
from onnx_wasm.compiler.frontend.refusal import Refusal
from onnx_wasm.compiler.frontend.rewrites.nodes import Nodes
from onnx_wasm.compiler.frontend.walk import Rewrite, Scope

_ML = "ai.onnx.ml"
_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER", "LEAF")
_AGGREGATES = ("AVERAGE", "SUM", "MIN", "MAX")
_TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def _ensemble(scope: Scope, node: Node) -> Sequence[onnx.NodeProto]:
    type_ = scope.type(node.proto.input[0])
    if type_ is None or type_.dtype not in ("float32", "float64"):
        raise Refusal("takes features that are not float32 or float64", "cast them in the model")
    its = node.attributes()
    table = _Table(its)
    for root in its["tree_roots"]:
        table.tree(int(root))
    scope.opsets = {**scope.opsets, "": 18, _ML: 3}
    nodes = Nodes(scope)
    scores = nodes.add(
        "TreeEnsembleRegressor",
        node.proto.input[0],
        output=node.proto.output[0] if type_.dtype == "float32" else "",
        domain=_ML,
        n_targets=its["n_targets"],
        aggregate_function=_named(_AGGREGATES, its["aggregate_function"]),
        post_transform=_named(_TRANSFORMS, its["post_transform"]),
        **table.attributes(),
    )
    if type_.dtype == "float64":
        nodes.add("Cast", scores, output=node.proto.output[0], to=onnx.TensorProto.DOUBLE)
    return nodes.made


class _Table:
    """The nodes of all trees, in the making: each tree has its own, numbered from its root on."""

    def __init__(self, its: Mapping[str, Any]) -> None:
        self._its = its
        self._sets = self._members()
        self._columns: dict[str, list[Any]] = {
            name: [] for name in ("trees", "modes", "features", "values", "yes", "no", "missing")
        }
        self._leaves: dict[str, list[Any]] = {name: [] for name in ("trees", "nodes", "targets", "weights")}
        self._tree = -1

    def tree(self, root: int) -> None:
        """Adds a tree."""
        self._tree += 1
        start = len(self._columns["trees"])
        waiting = [(root, False, self._added("LEAF"))]
        while waiting:
            at, is_leaf, place = waiting.pop()
            count = len(self._its["leaf_weights"] if is_leaf else self._its["nodes_modes"])
            if not 0 <= at < count or len(self._columns["trees"]) - start > 2 * self._most():
                raise Refusal("has trees that are none: a node is missing, or below itself", "export the model again")
            if is_leaf:
                self._leaf(place - start, at)
                continue
            waiting += self._inner(place, at, start)

    def attributes(self) -> dict[str, Any]:
        """As TreeEnsembleRegressor has them."""
        columns, leaves = self._columns, self._leaves
        places: list[int] = []
        for index, tree in enumerate(columns["trees"]):
            places.append(0 if index == 0 or tree != columns["trees"][index - 1] else places[-1] + 1)
        return {
            "nodes_treeids": columns["trees"],
            "nodes_nodeids": places,
            "nodes_modes": columns["modes"],
            "nodes_featureids": columns["features"],
            "nodes_values": columns["values"],
            "nodes_truenodeids": columns["yes"],
            "nodes_falsenodeids": columns["no"],
            "nodes_missing_value_tracks_true": columns["missing"],
            "target_treeids": leaves["trees"],
            "target_nodeids": leaves["nodes"],
            "target_ids": leaves["targets"],
            "target_weights": leaves["weights"],
        }

    def _inner(self, place: int, at: int, start: int) -> list[tuple[int, bool, int]]:
        """Fills in a node; gives what follows it: a node or leaf, and its place."""
        its, mode = self._its, _named(_MODES, int(self._its["nodes_modes"][at]))
        values = self._sets.get(at, []) if mode == "BRANCH_MEMBER" else [float(its["nodes_splits"][at])]
        mode = "BRANCH_EQ" if mode == "BRANCH_MEMBER" else mode
        following = []
        yes, no = ((int(its[f"nodes_{it}nodeids"][at]), bool(its[f"nodes_{it}leafs"][at])) for it in ("true", "false"))
        for index, value in enumerate(values or [float("nan")]):  # a set is one question for each member
            last = index >= len(values) - 1
            children = [self._added("LEAF"), self._added("LEAF")]
            missing = int((its.get("nodes_missing_value_tracks_true") or [0] * (at + 1))[at])
            row = (mode, int(its["nodes_featureids"][at]), value, children[0] - start, children[1] - start, missing)
            for name, it in zip(("modes", "features", "values", "yes", "no", "missing"), row, strict=True):
                self._columns[name][place] = it
            following.append((*yes, children[0]))
            if last:
                following.append((*no, children[1]))
            place = children[1]
        return following

    def _leaf(self, node: int, at: int) -> None:
        target, weight = int(self._its["leaf_targetids"][at]), float(self._its["leaf_weights"][at])
        row = (self._tree, node, target, weight)
        for name, it in zip(("trees", "nodes", "targets", "weights"), row, strict=True):
            self._leaves[name].append(it)

    def _added(self, mode: str) -> int:
        for name, it in zip(self._columns, (self._tree, mode, 0, 0.0, 0, 0, 0), strict=True):
            self._columns[name].append(it)
        return len(self._columns["trees"]) - 1

    def _most(self) -> int:
        members = sum(map(len, self._sets.values()))
        return len(self._its["nodes_modes"]) + len(self._its["leaf_weights"]) + 2 * members

    def _members(self) -> dict[int, list[float]]:
        """The sets that nodes ask for membership of, in the order of those nodes: NaN ends each."""
        sets: list[list[float]] = [[]]
        given = self._its.get("membership_values")
        for value in [] if given is None else given:
            if np.isnan(value):
                sets.append([])
            else:
                sets[-1].append(float(value))
        asking = [at for at, mode in enumerate(self._its["nodes_modes"]) if mode == _MODES.index("BRANCH_MEMBER")]
        return dict(zip(asking, sets, strict=False))


def _named(names: Sequence[str], index: int) -> str:
    if not 0 <= index < len(names):
        raise Refusal(f"has {index} where there are {len(names)} ways", "export the model again")
    return names[index]


REWRITES: dict[tuple[str, str], Rewrite] = {(_ML, "TreeEnsemble"): _ensemble}
