"""ONNX → Relax, through TVM's importer, with the weights lifted out of the IR."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator

from onnx_wasm.compiler import intrinsics
from onnx_wasm.compiler.converters import Call, converter, narrowed, widened
from onnx_wasm.compiler.converters.call import constant
from onnx_wasm.compiler.frontend.graph import Graph, Node, TensorType
from onnx_wasm.compiler.frontend.refusal import Refusal, broken
from onnx_wasm.compiler.tvm_errors import reason
from onnx_wasm.compiler.weights import Weights
from onnx_wasm.errors import BuildError, Problem


@dataclass(frozen=True)
class ImportedModel:
    """A model as Relax.

    Args:
        module: Its ``main`` takes the model's inputs, then the weights. Its attributes ``input_names`` and
            ``output_names`` hold the ONNX names.
        weights: The weights by the names of ``main``'s parameters.
    """

    module: tvm.IRModule
    weights: dict[str, np.ndarray]


def import_onnx(graph: Graph, file: str) -> ImportedModel:
    """Turns a static ONNX graph into Relax.

    Args:
        graph: The model as ``frontend.load`` gives it.
        file: What messages call the model.

    Raises:
        BuildError: Nodes that cannot be converted, all of them.
    """
    intrinsics.register()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        module = _Importer(graph, file).run()
    return _lift_weights(module, {"input_names": list(graph.inputs), "output_names": list(graph.outputs)})


def is_known(node: Node) -> bool:
    """Whether there is a converter for a node."""
    return converter(node) is not None


def with_weights(module: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """Puts the weights back as constants.

    Args:
        module: ``ImportedModel.module``.
        weights: ``ImportedModel.weights``.

    Returns:
        A module whose ``main`` takes the inputs only.
    """
    return relax.transform.BindParams("main", dict(weights))(module)


class _Importer:
    """Converts node by node, and goes on after one that cannot be, so that all of them are told at once."""

    def __init__(self, graph: Graph, file: str) -> None:
        self._graph = graph
        self._file = file
        self._builder = relax.BlockBuilder()
        self._tensors: dict[str, relax.Expr] = {}
        self._problems: list[Problem] = []

    def run(self) -> tvm.IRModule:
        graph = self._graph
        parameters = [relax.Var(name, relax.TensorType(it.shape, it.dtype)) for name, it in graph.inputs.items()]
        self._tensors.update(zip(graph.inputs, parameters, strict=True))
        self._tensors.update((name, constant(it)) for name, it in graph.values.items())
        with self._builder.function("main", parameters):
            with self._builder.dataflow():
                for node in graph.nodes:
                    self._node(node)
                if self._problems:
                    raise BuildError(self._problems)
                results = [self._tensors[tensor] for tensor in graph.outputs.values()]
                output = self._builder.emit_output(results[0] if len(results) == 1 else relax.Tuple(results))
            self._builder.emit_func_output(output)
        return self._builder.get()

    def _node(self, node: Node) -> None:
        names = list(node.proto.input)
        if any(name and name not in self._tensors for name in names):
            return  # what makes it was refused
        inputs = tuple(self._tensors[name] if name else None for name in names)
        types = tuple(self._graph.types.get(name) for name in node.proto.output)
        try:
            results = self._converted(Call(self._builder, node, inputs, types))
        except Refusal as refusal:
            self._problems.append(refusal.problem(node, self._file))
            return
        self._tensors.update((name, it) for name, it in zip(node.proto.output, results, strict=False) if name)

    def _converted(self, call: Call) -> list[relax.Expr]:
        convert = converter(call.node)
        assert convert is not None
        try:
            outputs = narrowed(call, _each(self._builder, convert(widened(call))))
        except Refusal:
            raise
        except Exception as error:
            raise broken(error, reason(error)) from error
        wanted = [(name, it) for name, it in zip(call.node.proto.output, call.types, strict=True) if name]
        if len(outputs) < len(call.node.proto.output) and any(call.node.proto.output[len(outputs) :]):
            raise Refusal(f"only its first {len(outputs)} outputs can be computed, not all {len(wanted)}")
        for output, type_ in zip(outputs, call.types, strict=False):
            if type_ is not None and (found := _type_of(output)) != type_:
                raise Refusal(f"would be compiled to {found} in place of {type_}")
        return outputs


def _each(builder: relax.BlockBuilder, result: relax.Expr | Sequence[relax.Expr]) -> list[relax.Expr]:
    """A converter's results, one by one and with their types."""
    if not isinstance(result, relax.Expr):
        return [builder.normalize(it) for it in result]
    value = builder.normalize(result)
    if isinstance(value, relax.Tuple):
        return [builder.normalize(it) for it in value.fields]
    if isinstance(value.ty, relax.TupleType):
        value = builder.emit(value)
        return [builder.emit(relax.TupleGetItem(value, index)) for index in range(len(value.ty.fields))]
    return [value]


def _type_of(expression: relax.Expr) -> TensorType | None:
    shape = getattr(getattr(expression.ty, "shape", None), "values", None)
    if shape is None or not all(isinstance(it, tvm.tirx.IntImm) for it in shape):
        return None
    return TensorType(str(expression.ty.dtype), tuple(int(it) for it in shape))


@mutator
class _WeightLifter(PyExprMutator):  # type: ignore[misc]
    """Replaces every constant tensor by a variable and keeps its value; scalars stay in the IR."""

    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, np.ndarray] = {}
        self.variables: list[relax.Var] = []
        self._by_constant: dict[tvm.ir.GenericConst, relax.Var] = {}

    def visit_generic_const_(self, op: tvm.ir.GenericConst) -> relax.Expr:
        value = op.value.numpy()
        if value.ndim == 0:
            return op
        if op not in self._by_constant:
            name = f"weight_{len(self.variables)}"
            self._by_constant[op] = relax.Var(name, op.ty)
            self.variables.append(self._by_constant[op])
            self.values[name] = value
        return self._by_constant[op]


def _lift_weights(module: tvm.IRModule, names: dict[str, list[str]]) -> ImportedModel:
    lifter = _WeightLifter()
    main = module["main"]
    body = lifter.visit_expr(main.body)
    module["main"] = relax.Function(
        [*main.params, *lifter.variables], body, main.ret_ty, main.is_pure, main.attrs
    ).with_attrs(names)
    return ImportedModel(module, lifter.values)
