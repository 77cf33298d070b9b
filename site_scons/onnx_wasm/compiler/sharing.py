"""Kernels that differ only in numbers - extents, strides, offsets - as one function that is given these.

Each kernel stays there under its own name, as a call of what it shares: who knows the numbers, as the entry function
does, calls that itself, and the linker leaves out what nobody calls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import tirx

from onnx_wasm.compiler.schedules import RULE
from onnx_wasm.compiler.targets import is_small

_PRODUCTS = ("gemm", "depthwise", "channels")
_MANY = 16


@dataclass(frozen=True)
class Route:
    """How to call a kernel that is shared.

    Args:
        symbol: The function to call.
        numbers: What it is given behind the kernel's own arguments.
    """

    symbol: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Shared:
    """Kernels, some of them shared.

    Args:
        functions: By name: each kernel, and what several of them call.
        routes: Of the kernels that are shared, by name.
    """

    functions: dict[str, tirx.PrimFunc]
    routes: dict[str, Route]


def share(kernels: Mapping[str, tirx.PrimFunc], target: tvm.target.Target) -> Shared:
    """Finds kernels of one form and makes one function of each such set.

    A product that does not know how long its rows are takes a twentieth longer: only many share one, unless code is to
    be small.

    Args:
        kernels: C functions, by name.
        target: What they will be compiled for.
    """
    with target:
        fewest = 2 if is_small() else _MANY
    functions, routes = dict(kernels), dict[str, Route]()
    for names in _alike(kernels):
        if kernels[names[0]].attrs.get(RULE) in _PRODUCTS and len(names) < fewest:
            continue
        symbol = f"{names[0]}_shared"
        functions[symbol], numbers = _with_numbers([kernels[name] for name in names])
        for name, its in zip(names, numbers, strict=True):
            routes[name] = Route(symbol, its)
            functions[name] = _calling(kernels[name], routes[name])
    return Shared(functions, routes)


def _alike(kernels: Mapping[str, tirx.PrimFunc]) -> list[list[str]]:
    """The names of kernels that are of one form, where there are at least two of it."""
    found: dict[tuple[object, ...], list[tuple[tirx.PrimFunc, list[str]]]] = {}
    for name, kernel in sorted(kernels.items()):
        reader = _Reader()
        skeleton = reader.mapped(kernel)
        same = found.setdefault((tvm_ffi.structural_hash(skeleton), *reader.fixed), [])
        names = next((names for other, names in same if tvm_ffi.structural_equal(other, skeleton)), None)
        if names is None:
            same.append((skeleton, [name]))
        else:
            names.append(name)
    return [names for same in found.values() for _, names in same if len(names) > 1]


def _with_numbers(kernels: Sequence[tirx.PrimFunc]) -> tuple[tirx.PrimFunc, list[tuple[int, ...]]]:
    """The function that kernels of one form share, and the numbers that it is given for each."""
    readers = [_Reader() for _ in kernels]
    for reader, kernel in zip(readers, kernels, strict=True):
        reader.mapped(kernel)
    columns = list(zip(*(reader.numbers for reader in readers), strict=True))
    parameters: dict[_Column, tirx.Var] = {}
    values: dict[_Column, tirx.Expr] = {}
    for column in dict.fromkeys(column for column in columns if len(set(column)) > 1):
        known = _from(column, parameters)
        if known is None:
            known = parameters[column] = tirx.Var(f"n{len(parameters)}", "int32")
        values[column] = known
    shared = _Writer([values.get(column) for column in columns]).mapped(kernels[0])
    parameters_too = [*shared.params, *parameters.values()]
    function = tirx.PrimFunc(parameters_too, shared.body, shared.ret_type, attrs=kernels[0].attrs)
    return function, [tuple(column[index] for column in parameters) for index in range(len(kernels))]


_Column = tuple[int, ...]
"""What one place holds in each of several kernels."""


def _from(column: _Column, parameters: Mapping[_Column, tirx.Var]) -> tirx.Expr | None:
    """What a place holds as a multiple of a parameter and a constant; None if it is none of any."""
    found = []
    for its, parameter in parameters.items():
        at = next(index for index, it in enumerate(its) if it != its[0])
        factor, rest = divmod(column[at] - column[0], its[at] - its[0])
        offset = column[0] - factor * its[0]
        if not rest and all(it == factor * other + offset for it, other in zip(column, its, strict=True)):
            found.append((factor, offset, parameter))
    if not found:
        return None
    factor, offset, parameter = min(found, key=lambda it: (abs(it[0]), abs(it[1])))
    return parameter * factor + offset


def _calling(kernel: tirx.PrimFunc, route: Route) -> tirx.PrimFunc:
    """A kernel that only calls what it shares."""
    numbers = (tirx.const(number, "int32") for number in route.numbers)
    call = tirx.Evaluate(tirx.call_extern("int32", route.symbol, *kernel.params, *numbers))
    body = tirx.SeqStmt([call, tirx.Return(tirx.const(0, "int32"))])
    return tirx.PrimFunc(kernel.params, body, kernel.ret_type, attrs=kernel.attrs)


class _Walk:
    """Goes through a kernel in a fixed order and puts something else in the place of each number.

    No number are the extents of the tensors that a kernel is given: code does not depend on them.
    """

    def __init__(self) -> None:
        self.fixed: list[int] = []
        self._own: list[tvm.ir.Type] = []
        self._extents = 0

    def mapped(self, kernel: tirx.PrimFunc) -> tirx.PrimFunc:
        """The kernel with other numbers, and without attributes."""
        tvm_ffi.structural_walk(kernel.body, ((tirx.AllocBuffer, lambda it: self._own.append(it.buffer.ty)),))
        callbacks = (
            (tirx.BufferType, self._type),
            ((tirx.Ramp, tirx.Broadcast), self._vector),
            ((tirx.Div, tirx.Mod, tirx.FloorDiv, tirx.FloorMod), self._division),
            (tirx.IntImm, self._integer),
        )
        plain = tirx.PrimFunc(kernel.params, kernel.body, kernel.ret_type)
        return tvm_ffi.structural_mutate(plain, callbacks)

    def number(self, it: tirx.IntImm) -> tirx.Expr:
        """What to put in a number's place."""
        raise NotImplementedError

    def extent(self, it: tirx.IntImm) -> tirx.IntImm:
        """What to put in the place of an extent of a tensor."""
        raise NotImplementedError

    def _type(self, it: tvm.ir.Type, mutator: tvm_ffi.StructuralMutator) -> tvm.ir.Type:
        values: list[int] = []
        tvm_ffi.structural_walk(it, ((tirx.IntImm, lambda each: values.append(int(each.value))),))
        self._extents += len(values)
        if any(own.same_as(it) for own in self._own):
            self.fixed += values
        return mutator.default_mutate(it)

    def _vector(self, it: tirx.Expr, mutator: tvm_ffi.StructuralMutator) -> tirx.Expr:
        self.fixed.append(int(it.lanes))
        return mutator.default_mutate(it)

    def _division(self, it: tirx.Expr, mutator: tvm_ffi.StructuralMutator) -> tirx.Expr:
        """By a number that is known it is a product and a shift."""
        if isinstance(it.b, tirx.IntImm):
            self.fixed.append(int(it.b.value))
        return mutator.default_mutate(it)

    def _integer(self, it: tirx.IntImm, _mutator: tvm_ffi.StructuralMutator) -> tirx.Expr:
        if self._extents:
            self._extents -= 1
            return self.extent(it)
        return self.number(it) if it.ty.dtype == "int32" else it


class _Reader(_Walk):
    """Collects numbers, and leaves zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: list[int] = []

    def number(self, it: tirx.IntImm) -> tirx.Expr:
        self.numbers.append(int(it.value))
        return tirx.const(0, "int32")

    def extent(self, it: tirx.IntImm) -> tirx.IntImm:
        return tirx.const(0, it.ty.dtype)


class _Writer(_Walk):
    """Puts variables in the places of some numbers."""

    def __init__(self, variables: Sequence[tirx.Var | None]) -> None:
        super().__init__()
        self._variables = iter(variables)

    def number(self, it: tirx.IntImm) -> tirx.Expr:
        variable = next(self._variables)
        return it if variable is None else variable

    def extent(self, it: tirx.IntImm) -> tirx.IntImm:
        return it
