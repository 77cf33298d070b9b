"""ONNX → Relax, through TVM's importer, with the weights lifted out of the IR."""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass

import numpy as np
import onnx
import tvm
from tvm import relax
from tvm.relax.expr_functor import PyExprMutator, mutator
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

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


def import_onnx(model: onnx.ModelProto, label: str) -> ImportedModel:
    """Turns a checked, static ONNX model into Relax.

    Args:
        model: The model as ``frontend.load`` gives it.
        label: What messages call the model.

    Raises:
        BuildError: An operator that the importer does not take, with its node.
    """
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    importer = _NamingImporter(shape_dict=None, dtype_dict=None, sanitize=False, label=label)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        module = importer.from_onnx(model.graph, opset)
    names = {
        "input_names": [value.name for value in model.graph.input],
        "output_names": [value.name for value in model.graph.output],
    }
    return _lift_weights(module, names)


def with_weights(module: tvm.IRModule, weights: Weights) -> tvm.IRModule:
    """Puts the weights back as constants.

    Args:
        module: ``ImportedModel.module``.
        weights: ``ImportedModel.weights``.

    Returns:
        A module whose ``main`` takes the inputs only.
    """
    return relax.transform.BindParams("main", dict(weights))(module)


class _NamingImporter(ONNXGraphImporter):  # type: ignore[misc]
    """TVM's importer, except that a failure names the node."""

    def __init__(self, *, label: str, **options: object) -> None:
        super().__init__(**options)
        self._label = label

    def _convert_operator(self, op_name: str, inputs: object, attrs: dict[str, object], opset: int) -> object:
        try:
            return super()._convert_operator(op_name, inputs, attrs, opset)
        except BuildError:
            raise
        except Exception as error:
            node = attrs["tvm_custom"]["name"]  # type: ignore[index]
            reason = str(error).strip().splitlines()
            raise BuildError(
                Problem(
                    self._label,
                    f'node "{node}" ({op_name}, opset {opset}) cannot be imported: {reason[-1] if reason else error!r}',
                    "export the model with static shapes, or replace the operator",
                )
            ) from error


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
