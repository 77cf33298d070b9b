"""One walk over the nodes that leaves only those whose work is left to do when the module runs.

In the order of the graph, each node is taken apart if it is a function or has subgraphs, computed if all that it
reads is known, and otherwise kept, with the types of what it makes. What a node is taken apart into is walked in its
place, so shapes that come out of a loop's counter or of another function's body are known when they are asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.shape_inference import InferenceError

from onnx_wasm.compiler.frontend import infer, splice
from onnx_wasm.compiler.frontend.constant import constant_value
from onnx_wasm.compiler.frontend.evaluate import Evaluator
from onnx_wasm.compiler.frontend.functions import function_body, has_body, with_defaults
from onnx_wasm.compiler.frontend.graph import DEFAULT_DOMAINS, DTYPES, Graph, Node, TensorType, domain_of
from onnx_wasm.compiler.frontend.parse import in_short
from onnx_wasm.compiler.frontend.refusal import Refusal, broken
from onnx_wasm.errors import BuildError, Problem

_MOST_NODES = 50_000
WITHOUT_CONVERTER = frozenset((("", "Identity"), ("", "Constant")))
"""Operators that the walk itself makes do with."""

Rewrite = Callable[["Scope", Node], "Sequence[onnx.NodeProto] | None"]


def specialise(
    model: onnx.ModelProto,
    inputs: Mapping[str, TensorType],
    values: Mapping[str, np.ndarray],
    rewrites: Mapping[tuple[str, str], Rewrite],
    is_known: Callable[[Node], bool],
    path: Path,
) -> Graph:
    """Turns a checked model into a static graph.

    Args:
        model: The model, its initialisers taken out.
        inputs: The types of its inputs.
        values: Its initialisers.
        rewrites: By domain and operator, what takes a node apart into others.
        is_known: Whether the importer has a converter for a node.
        path: The ONNX file, for messages.

    Raises:
        BuildError: Every node that cannot be compiled.
    """
    return _Walk(model, inputs, values, rewrites, is_known, path).run()


@dataclass(frozen=True)
class _Pending:
    """A node that waits for its turn; ``opsets`` are those of the model or function that it stands in."""

    proto: onnx.NodeProto
    opsets: Mapping[str, int]
    place: str


class Scope:
    """What a rewrite may ask about the graph so far, and how it names what it makes."""

    def __init__(self, walk: _Walk, opsets: Mapping[str, int], place: str) -> None:
        self._walk = walk
        self.place = place
        """What messages call the node."""
        self.opsets = opsets
        """The version of each domain's operator set; a rewrite may change it for what it returns."""

    def value(self, name: str) -> np.ndarray | None:
        """A tensor's value, if it is known."""
        return self._walk.values.get(self._walk.resolved(name))

    def type(self, name: str) -> TensorType | None:
        """A tensor's type, if it is static."""
        return infer.static(self._walk.types.get(self._walk.resolved(name)))

    def type_proto(self, name: str) -> onnx.TypeProto:
        """A tensor's type as ONNX writes it, empty if it is not known."""
        return self._walk.types.get(self._walk.resolved(name), onnx.TypeProto())

    def constant(self, value: np.ndarray, hint: str = "constant") -> str:
        """Adds a known tensor and gives its name."""
        name = self.fresh(hint)
        self._walk.know(name, np.asarray(value))
        return name

    def fresh(self, hint: str) -> str:
        """A name that nothing else has."""
        return self._walk.fresh(hint)

    def definition(self, node: Node) -> list[onnx.NodeProto]:
        """The nodes that ONNX defines a node's operator by.

        Raises:
            Refusal: ONNX does not define it by others.
        """
        if not has_body(node):
            raise Refusal("")
        function = function_body(node, [self.type_proto(it) for it in node.proto.input])
        self.opsets = {**self.opsets, **_opsets(function.opset_import)}
        return splice.bound(function, with_defaults(node), self.fresh(node.proto.op_type))

    def body(self, graph: onnx.GraphProto, inputs: Iterable[str], outputs: Iterable[str]) -> list[onnx.NodeProto]:
        """The nodes of a subgraph, to take the place of the node that has it.

        Args:
            graph: The subgraph.
            inputs: What its inputs are called outside.
            outputs: What its outputs shall be called outside; an empty name for one that nobody reads.
        """
        prefix = self.fresh("body")
        names = {formal.name: actual for formal, actual in zip(graph.input, inputs, strict=False)}
        for tensor in graph.initializer:
            if tensor.name not in names:
                names[tensor.name] = self.constant(numpy_helper.to_array(tensor), tensor.name)
        nodes = splice.renamed(graph.node, names, prefix)
        made = {it for node in graph.node for it in node.output}
        ends = []
        for formal, actual in zip(graph.output, outputs, strict=False):
            if actual:
                inside = f"{prefix}/{formal.name}" if formal.name in made else names.get(formal.name, formal.name)
                ends.append(splice.identity(inside, actual))
        return [*nodes, *ends]


class _Walk:
    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Mapping[str, TensorType],
        values: Mapping[str, np.ndarray],
        rewrites: Mapping[tuple[str, str], Rewrite],
        is_known: Callable[[Node], bool],
        path: Path,
    ) -> None:
        nothing = {name: np.zeros(it.shape, it.dtype) for name, it in inputs.items() if it.nbytes == 0}
        self.values = {**values, **nothing}
        self.types = {name: infer.proto_of(it) for name, it in inputs.items()}
        self.types |= {name: infer.proto_of(infer.type_of(it)) for name, it in values.items() if it.dtype != object}
        self._model = model
        self._inputs = dict(inputs)
        self._rewrites = rewrites
        self._is_known = is_known
        self._path = path
        self._functions = {(it.domain, it.name, it.overload): it for it in model.functions}
        self._aliases: dict[str, str] = {}
        self._unknown: dict[str, list[str]] = {}  # tensors that cannot be had, and because of which others
        self._evaluator = Evaluator()
        self._nodes: list[Node] = []
        self._refused: list[tuple[list[str], Problem]] = []
        self._names = 0
        self._alike = [it for it in splice.names(model.graph) if "~" in it] + [it for it in values if "~" in it]

    def run(self) -> Graph:
        opsets = _opsets(self._model.opset_import)
        graph = self._model.graph
        pending = deque(_Pending(it, opsets, _place(it, index)) for index, it in enumerate(graph.node))
        walked = 0
        while pending:
            walked += 1
            if walked > _MOST_NODES:
                message = f"the model has more than {_MOST_NODES} nodes once its functions and loops are written out"
                raise BuildError(Problem(str(self._path), message, "export it with fewer steps, or split it"))
            pending.extendleft(reversed(self._step(pending.popleft())))
        return self._result()

    def resolved(self, name: str) -> str:
        """The tensor that a name stands for."""
        return self._aliases.get(name, name)

    def know(self, name: str, value: np.ndarray) -> None:
        """Keeps the value of a tensor."""
        self.values[name] = value
        if value.dtype != object:
            self.types[name] = infer.proto_of(infer.type_of(value))

    def fresh(self, hint: str) -> str:
        """A name that no tensor has, nor begins with."""
        while True:
            self._names += 1
            name = f"{hint}~{self._names}"
            if not any(it.startswith(name) for it in self._alike):
                return name

    def _step(self, pending: _Pending) -> list[_Pending]:
        """Does one node; what it is taken apart into comes back."""
        proto = splice.reading(pending.proto, self._aliases)
        node = Node(proto, pending.opsets.get(domain_of(proto), 1), pending.place)
        unknown = [it for it in splice.reads(proto) if it in self._unknown]
        try:
            if unknown:
                self._unknown.update((it, unknown) for it in proto.output)
                self._check_operator(node)
                return []
            return self._taken_apart(node, pending.opsets) or []
        except Refusal as refusal:
            self._refuse(node, refusal)
        except InferenceError as error:
            self._refuse(node, Refusal(f"does not fit its definition: {in_short(error)}", "export the model again"))
        except Exception as error:  # whatever an untrusted file brings about, such as an attribute that is not there
            self._refuse(node, broken(error, in_short(error)))
        return []

    def _taken_apart(self, node: Node, opsets: Mapping[str, int]) -> list[_Pending] | None:
        proto = node.proto
        if node.key == ("", "Identity"):
            self._aliases[proto.output[0]] = proto.input[0]
            return None
        if node.key == ("", "Constant"):
            self.know(proto.output[0], constant_value(proto))
            return None
        if (function := self._functions.get((proto.domain, proto.op_type, proto.overload))) is not None:
            return self._function(node, function, opsets)
        scope = Scope(self, opsets, node.place)
        rewrite = self._rewrites.get(node.key)
        if rewrite is not None and (nodes := rewrite(scope, node)) is not None:
            return [_Pending(it, scope.opsets, _inner_place(node.place, it)) for it in nodes]
        types = self._types_of(node, opsets)
        if _is_nothing(node, types):
            for name in filter(None, proto.output):
                type_ = infer.static(types[name])
                assert type_ is not None
                self.know(name, np.zeros(type_.shape, type_.dtype))
            return None
        if (results := self._computed(node, types)) is not None:
            for name, value in zip((it for it in proto.output if it), results, strict=True):
                self.know(name, value)
            return None
        inferred = all(infer.static(types.get(it)) is not None for it in proto.output if it)
        if not self._is_known(node) or (types and not inferred and has_body(node)):
            self._check_operator(node)
            return [_Pending(it, scope.opsets, _inner_place(node.place, it)) for it in scope.definition(node)]
        self._keep(node, types)
        return None

    def _function(self, node: Node, function: onnx.FunctionProto, opsets: Mapping[str, int]) -> list[_Pending]:
        body = splice.bound(function, node.proto, self.fresh(node.proto.op_type))
        inside = {**opsets, **_opsets(function.opset_import)}
        return [_Pending(it, inside, _inner_place(node.place, it)) for it in body]

    def _computed(self, node: Node, types: Mapping[str, onnx.TypeProto]) -> list[np.ndarray] | None:
        """A node's outputs, if all that it reads is known and it is one to compute now."""
        operands = [self.values.get(it) if it else None for it in node.proto.input]
        if not all(value is not None or not name for name, value in zip(node.proto.input, operands, strict=True)):
            return None
        static = {name: it for name, type_ in types.items() if (it := infer.static(type_)) is not None}
        return self._evaluator.known(node, operands, static)

    def _check_operator(self, node: Node) -> None:
        """Refuses an operator that nothing here knows, whatever its operands."""
        local = (node.proto.domain, node.proto.op_type, node.proto.overload) in self._functions
        free = node.key in WITHOUT_CONVERTER or node.key in self._rewrites
        if not (local or free or self._is_known(node) or has_body(node)):
            raise Refusal("")

    def _types_of(self, node: Node, opsets: Mapping[str, int]) -> dict[str, onnx.TypeProto]:
        reads = splice.reads(node.proto)
        if any(it not in self.types for it in reads):
            return {}
        return infer.output_types(node, {it: self.types[it] for it in reads}, self.values, opsets)

    def _keep(self, node: Node, types: Mapping[str, onnx.TypeProto]) -> None:
        for name in node.proto.output:
            if name and name in types:
                _check_type(types[name])
        self.types.update({name: it for name, it in types.items() if name})
        self._nodes.append(node)

    def _refuse(self, node: Node, refusal: Refusal) -> None:
        self._refused.append((list(node.proto.output), refusal.problem(node, str(self._path))))
        for name in node.proto.output:
            self._unknown.setdefault(name, [])

    def _result(self) -> Graph:
        """The nodes that the outputs need, unless one of them was refused."""
        outputs = {it.name: self.resolved(it.name) for it in self._model.graph.output}
        needed = set(outputs.values())
        waiting = [it for it in outputs.values() if it in self._unknown]
        while waiting:
            more = [it for it in self._unknown.get(waiting.pop(), ()) if it not in needed]
            needed.update(more)
            waiting.extend(more)
        kept = []
        for node in reversed(self._nodes):
            if needed.intersection(node.proto.output):
                kept.append(node)
                needed.update(it for it in node.proto.input if it)
        problems = [problem for names, problem in self._refused if needed.intersection(names)]
        if problems:
            raise BuildError(problems)
        made = {name for node in kept for name in node.proto.output}
        nowhere = sorted(name for name in needed if name not in made | self.values.keys() | self._inputs.keys())
        if nowhere:
            message = f"nothing makes these tensors: {', '.join(nowhere)}"
            raise BuildError(Problem(str(self._path), message, "export the model again"))
        others = sorted(name for name in needed if name in self.values and str(self.values[name].dtype) not in DTYPES)
        if others:
            dtypes = ", ".join(f'"{name}" of {self.values[name].dtype}' for name in others)
            message = f"a module cannot compute with these tensors: {dtypes}"
            raise BuildError(Problem(str(self._path), message, "convert the model to float32"))
        types = {name: it for name in sorted(needed) if (it := infer.static(self.types.get(name))) is not None}
        values = {name: it for name, it in self.values.items() if name in needed}
        return Graph(tuple(reversed(kept)), self._inputs, outputs, types, values)


def _is_nothing(node: Node, types: Mapping[str, onnx.TypeProto]) -> bool:
    """Whether all that a node makes are tensors without elements."""
    made = [infer.static(types.get(name)) for name in node.proto.output if name]
    return all(it is not None and it.nbytes == 0 and it.dtype in DTYPES for it in made)


def _check_type(type_: onnx.TypeProto) -> None:
    """Refuses what a module cannot compute."""
    kind = type_.WhichOneof("value")
    if kind != "tensor_type" or type_.tensor_type.elem_type == onnx.TensorProto.STRING:
        made = "text" if kind == "tensor_type" else f"a {str(kind).removesuffix('_type')}"
        raise Refusal(f"makes {made}; a module computes tensors of numbers")
    static = infer.static(type_)
    if static is None:
        hint = "make what the shape depends on a constant of the model, or leave this part to whoever calls the module"
        raise Refusal("makes a tensor whose shape depends on values that only a run knows", hint)
    if static.dtype not in DTYPES:
        raise Refusal(f"makes {static.dtype}, which a module cannot compute", "convert the model to float32")
    if not static.is_addressable:
        message = f"makes a tensor of {static.nbytes} bytes ({static}); wasm32 has 4 GiB of memory"
        raise Refusal(message, "freeze smaller dimensions")


def _opsets(imports: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    return {"" if it.domain in DEFAULT_DOMAINS else it.domain: it.version for it in imports}


def _place(node: onnx.NodeProto, index: int) -> str:
    return f'"{node.name}"' if node.name else f"number {index}"


def _inner_place(place: str, node: onnx.NodeProto) -> str:
    return f"{place}, inside of it {node.op_type}"
