"""Loops that sum walk through memory on pointers, instead of computing addresses from a counter.

WebAssembly adds a constant to an address for nothing. What is a multiple of a counter costs a shift and additions in
each turn: 5 to 9 % of a product's time in V8. LLVM's strength reduction finds such pointers too, but it forgets on the
way that constants added to them do not wrap around, without which they are no constants of addresses: so it is off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import ir, sym, tirx

WALKED = "onnx_wasm.walked"
"""The annotation of a loop that is to walk."""


@dataclass(frozen=True)
class _Place:
    """What a load reads: element ``step · counter + start`` of a buffer, and those behind it."""

    buffer: tirx.Buffer
    step: int
    start: tirx.Expr

    def behind(self, other: _Place) -> int | None:
        """How many elements it stands behind another in every turn; None if that is not known."""
        if not self.buffer.same_as(other.buffer) or self.step != other.step:
            return None
        difference = sym.Analyzer().canonical_simplify(self.start - other.start)
        return int(difference.value) if isinstance(difference, tirx.IntImm) else None


class _Pointer:
    """A pointer that moves through a buffer.

    Args:
        first: The place that it points to.
    """

    def __init__(self, first: _Place) -> None:
        self._first = first
        name = first.buffer.name
        self._address = tirx.decl_buffer((1,), "int32", f"{name}_address")
        self._seen = tirx.decl_buffer(first.buffer.shape, first.buffer.dtype, f"{name}_seen")

    @property
    def address(self) -> tirx.Expr:
        """Where it is."""
        return tirx.BufferLoad(self._address, [0])

    def after(self, turns: tirx.Expr) -> tirx.Expr:
        """Where it will be."""
        return self.address + turns * (self._first.step * tvm.DataType(str(self._first.buffer.dtype)).itemsize)

    def load(self, place: _Place, lanes: int) -> tirx.Expr | None:
        """Reads a place, if it is at a constant distance."""
        behind = place.behind(self._first)
        if behind is None:
            return None
        at = tirx.const(behind, "int32")
        return tirx.BufferLoad(self._seen, [at if lanes == 1 else tirx.Ramp(at, 1, lanes)])

    def set_out(self) -> list[tirx.Stmt]:
        """Points to the first place, in the first turn."""
        first = tirx.address_of(tirx.BufferLoad(self._first.buffer, [self._first.start]))
        start = tirx.reinterpret("uint64", first).astype("int32")
        return [tirx.AllocBuffer(self._address), tirx.BufferStore(self._address, start, [0])]

    def look(self) -> tirx.Stmt:
        """Declares what it points to."""
        address = tirx.reinterpret(self._seen.data.ty, self.address.astype("uint32").astype("uint64"))
        return tirx.DeclBuffer(self._seen, data=address)

    def move(self) -> tirx.Stmt:
        """Goes on to the next turn."""
        return tirx.BufferStore(self._address, self.after(tirx.const(1, "int32")), [0])


def walk(function: tirx.PrimFunc) -> tirx.PrimFunc:
    """Puts pointers into loops that are annotated so.

    Args:
        function: A kernel whose buffers are flat.
    """
    body = tvm_ffi.structural_mutate(function.body, ((tirx.For, _walked),))
    return tirx.PrimFunc(function.params, body, function.ret_type, attrs=function.attrs)


def _walked(loop: tirx.For, mutator: tvm_ffi.StructuralMutator) -> tirx.Stmt:
    if WALKED not in loop.annotations:
        return mutator.default_mutate(loop)
    counter, places = loop.loop_var, list[_Place]()

    def collect(load: ir.TensorLoad) -> None:
        place = _place(load, counter)
        if place:
            places.append(place)

    tvm_ffi.structural_walk(loop.body, ((ir.TensorLoad, collect),))
    pointers = _pointers(places)

    def seen(load: ir.TensorLoad, within: tvm_ffi.StructuralMutator) -> tirx.Expr:
        place = _place(load, counter)
        if place is None:
            return within.default_mutate(load)
        return next(found for it in pointers if (found := it.load(place, _lanes(load))) is not None)

    body = tvm_ffi.structural_mutate(loop.body, ((ir.TensorLoad, seen),))
    if not pointers or not _sums_in_registers(body) or mentions(body, counter):
        return loop
    end = tirx.Var(f"{counter.name}_end", "int32")
    turn = tirx.SeqStmt([*(it.look() for it in pointers), body, *(it.move() for it in pointers)])
    return tirx.SeqStmt(
        [
            *(statement for it in pointers for statement in it.set_out()),
            tirx.Bind(end, pointers[0].after(loop.extent)),
            tirx.While(pointers[0].address != end, turn),
        ]
    )


def _place(load: ir.TensorLoad, counter: tirx.Var) -> _Place | None:
    """What a load reads, if it moves through a buffer of scalars in even steps."""
    buffer, (index, *_) = load.source, load.indices
    start = index.base if isinstance(index, tirx.Ramp) else index
    linear = sym.detect_linear_equation(start, [counter])
    if not linear or not isinstance(linear[0], tirx.IntImm) or linear[0].value <= 0:
        return None
    return _Place(buffer, int(linear[0].value), linear[1])


def _lanes(load: ir.TensorLoad) -> int:
    (index,) = load.indices
    return int(index.lanes) if isinstance(index, tirx.Ramp) else 1


def _pointers(places: Sequence[_Place]) -> list[_Pointer]:
    """A pointer for each set of places that stand at constant distances from each other: to the first of them."""
    sets: list[list[_Place]] = []
    for place in places:
        its = next((its for its in sets if place.behind(its[0]) is not None), None)
        if its is None:
            sets.append([place])
        else:
            its.append(place)
    return [_Pointer(min(its, key=lambda it: it.behind(its[0]) or 0)) for its in sets]


def _sums_in_registers(statement: tirx.Stmt) -> bool:
    """Whether it stores at known places alone.

    What it stores elsewhere stays in memory, and LLVM must think of every pointer that it may read that.
    """
    stores: list[tirx.BufferStore] = []
    tvm_ffi.structural_walk(statement, ((tirx.BufferStore, stores.append),))
    starts = [at.base if isinstance(at, tirx.Ramp) else at for it in stores for at in it.indices]
    return all(isinstance(it, tirx.IntImm) for it in starts)


def mentions(node: tirx.Stmt | tirx.Expr, variable: tirx.Var) -> bool:
    """Whether a variable stands in a statement or an expression."""
    found: list[tirx.Var] = []
    tvm_ffi.structural_walk(node, ((tirx.Var, found.append),))
    return any(it.same_as(variable) for it in found)
