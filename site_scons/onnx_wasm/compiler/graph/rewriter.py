"""What graph passes share: ``main`` is rebuilt binding by binding, and a pass says what becomes of each operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tvm
from tvm import relax, tirx
from tvm.ir import GenericConst
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.stored import Stored, read_by, reads
from onnx_wasm.compiler.schedules import RULE

ELEMENTWISE, INJECTIVE, ANCHOR, OPAQUE = 0, 2, 4, 8
"""How a kernel may be fused: with all before it, with others that move data, with elementwise ones after it, or not at
all (TVM's ``OpPatternKind``)."""


class Rewriter:
    """Rebuilds ``main``. A subclass fills ``rules``: from an operator's name to what becomes of its calls.

    A rule takes a call of the original function and returns the expression that takes its place, or None to keep the
    call. ``self.rewritten`` gives it the call's arguments, ``self.emit`` binds whatever it needs besides.
    """

    def __init__(self, module: tvm.IRModule) -> None:
        self.module = module
        self.builder = relax.BlockBuilder()
        self.rules: Mapping[str, Callable[[relax.Call], relax.Expr | None]] = {}
        self.values: dict[relax.Var, Any] = {}
        """What has become of each of the original function's variables."""
        self.definitions: dict[relax.Var, relax.Expr] = {
            binding.var: binding.value for block in module["main"].body.blocks for binding in block.bindings
        }
        """What each of the original function's variables is bound to."""
        self._renamed: dict[tvm.ir.GlobalVar, tvm.ir.GlobalVar] = {}
        self._read: dict[relax.Var, Stored] = {}
        self._stored: dict[relax.Expr, Stored | None] = {}

    def run(self) -> tvm.IRModule:
        """Rewrites the module."""
        main = self.module["main"]
        for var, function in self.module.functions.items():
            if var.name_hint != "main":
                self._renamed[var] = self.builder.add_func(function, var.name_hint)
        parameters = [relax.Var(it.name, it.ty) for it in main.params]
        self.values.update(zip(main.params, parameters, strict=True))
        with self.builder.function("main", parameters, attrs=dict(main.attrs)):
            with self.builder.dataflow():
                for block in main.body.blocks:
                    for binding in block.bindings:
                        self.values[binding.var] = self._binding(binding)
                output = self.builder.emit_output(self.rewritten(main.body.body))
            self.builder.emit_func_output(output)
        return self.builder.get()

    def emit(self, expression: relax.Expr) -> relax.Var:
        """Binds an expression to a new variable."""
        return self.builder.emit(expression)

    def call_te(
        self, name: str, compute: Callable[..., Any], *arguments: Any, pattern: int = ANCHOR, rule: str = ""
    ) -> relax.Var:
        """Binds a call of a new kernel.

        Args:
            name: The kernel's.
            compute: Its tensor expression.
            arguments: Its arguments, the tensors first.
            pattern: How it may be fused.
            rule: What its loops were written by, if no rule is to schedule them.
        """
        tensors = [it for it in arguments if isinstance(it, relax.Expr)]
        rest = arguments[len(tensors) :]
        attributes = {"op_pattern": pattern, **({RULE: rule} if rule else {})}
        return self.builder.emit_te(
            lambda *te: compute(*te, *rest), *tensors, primfunc_name_hint=name, primfunc_attrs=attributes
        )

    def stored(self, expression: relax.Expr) -> Stored | None:
        """A tensor of the original function as it is stored, if it is known."""
        value = self.values.get(expression) if isinstance(expression, relax.Var) else expression
        if is_constant(value):
            return Stored(array_of(value), dtype_of(value))
        if isinstance(value, relax.Var) and value in self._read:
            return self._read[value]
        if expression not in self._stored:
            self._stored[expression] = self._read_by(self.definitions.get(expression))
        return self._stored[expression]

    def call_of(self, expression: relax.Expr, operator: str = "") -> relax.Call | None:
        """What a variable of the original function is bound to, if that is a call of an operator.

        Args:
            expression: The variable.
            operator: The operator's name; any if it is empty.
        """
        value = self.definitions.get(expression) if isinstance(expression, relax.Var) else None
        if not isinstance(value, relax.Call) or not hasattr(value.op, "name"):
            return None
        return value if operator in ("", value.op.name) else None

    def _read_by(self, call: relax.Expr | None) -> Stored | None:
        if not isinstance(call, relax.Call) or not reads(call):
            return None
        operands = [it for argument in call.args if (it := self.stored(argument)) is not None]
        return read_by(call, operands) if len(operands) == len(call.args) else None

    def read(self, it: Stored) -> relax.Expr:
        """Binds a stored tensor to a variable, unless it is a constant as it stands."""
        value = constant(it.values)
        if it.is_constant:
            return value
        value = self.emit(R.astype(value, it.dtype))
        value = value if it.zero is None else self.emit(R.subtract(value, constant(it.zero)))
        value = value if it.factor is None else self.emit(R.multiply(value, constant(it.factor)))
        self._read[value] = it
        return value

    def call_kernel(
        self, name: str, kernel: tirx.PrimFunc, arguments: list[relax.Expr], shape: tuple[int, ...], rule: str
    ) -> relax.Var:
        """Binds a call of a kernel that is written as it is to run; equal kernels become one.

        Args:
            name: The kernel's.
            kernel: What it does, its result last among its parameters.
            arguments: Its other arguments.
            shape: Of its result, float32.
            rule: What its loops were written by.
        """
        attributed = kernel.with_attrs({"op_pattern": OPAQUE, RULE: rule})
        variable = self.builder.add_func(attributed.without_attr("global_symbol"), name)
        return self.emit(relax.call_tir(variable, arguments, relax.TensorType(shape, "float32")))

    def rewritten(self, expression: relax.Expr) -> relax.Expr:
        """What has become of an expression of the original function."""
        if isinstance(expression, relax.Var):
            return self.values[expression]
        if isinstance(expression, relax.Tuple):
            return relax.Tuple([self.rewritten(field) for field in expression.fields])
        return expression

    def _binding(self, binding: relax.Binding) -> Any:
        value = binding.value
        if isinstance(value, relax.TupleGetItem):
            source = self.rewritten(value.tuple_value)
            if isinstance(source, relax.Tuple):
                return source.fields[value.index]
            return self.emit(relax.TupleGetItem(source, value.index))
        if not isinstance(value, relax.Call):
            return self.rewritten(value)
        rule = self.rules.get(getattr(value.op, "name", ""))
        result = rule(value) if rule else None
        if result is not None:
            return result
        arguments = [self._renamed.get(it) or self.rewritten(it) for it in value.args]
        return self.emit(relax.Call(value.op, arguments, value.attrs, value.ty_args))


def shape_of(expression: relax.Expr) -> tuple[int, ...]:
    """A tensor's static shape."""
    return tuple(int(extent) for extent in expression.ty.shape.values)


def dtype_of(expression: relax.Expr) -> str:
    """A tensor's dtype, as NumPy names it."""
    return str(expression.ty.dtype)


def is_constant(expression: relax.Expr) -> bool:
    """Whether a tensor's value is known."""
    return isinstance(expression, GenericConst)


def array_of(expression: GenericConst) -> np.ndarray:
    """A constant's value."""
    array: np.ndarray = expression.value.numpy()
    return array


def constant(array: np.ndarray) -> GenericConst:
    """A tensor of known value."""
    return relax.const(np.array(array, order="C"), str(array.dtype))


def integers(values: Any) -> list[int]:
    """An attribute that is a list of integers."""
    return [int(value) for value in values]
