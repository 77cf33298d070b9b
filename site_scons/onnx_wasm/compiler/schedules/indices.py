"""How a block walks through memory: the digits that its indices are made of, and the steps of what it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import tvm
import tvm_ffi
from tvm import sym, tirx

from onnx_wasm.compiler.walking import mentions

_CONDITION = "prim.if_then_else"


@dataclass(frozen=True)
class Walk:
    """A block without reductions, its loops split where its indices divide them.

    Args:
        factors: The extents that each loop is to be split into, outermost first.
        steps: For each tensor that it reads, how many elements further a step of each of these loops is; None where
            only a run knows. Those of what it writes come first.
        asked: Which of these loops its conditions depend on.
        ends: Where along the last loop conditions turn.
    """

    factors: tuple[tuple[int, ...], ...]
    steps: tuple[tuple[int, ...] | None, ...]
    asked: frozenset[int]
    ends: frozenset[int]


def walk(block: tirx.SBlock) -> Walk:
    """Reads a block whose indices are simplified."""
    factors = tuple(_factors(it, _cuts(block.body, it)) for it in block.iter_vars)
    digits = [tirx.Var(f"digit{index}", "int64") for index in range(sum(map(len, factors)))]
    analyzer, numbers, rest = sym.Analyzer(), {}, iter(digits)
    for it, its in zip(block.iter_vars, factors, strict=True):
        value: tirx.Expr = tirx.const(0, "int64")
        for extent in its:
            digit = next(rest)
            analyzer.bind(digit, tvm.ir.Range(0, extent))
            value = value * extent + digit
        numbers[it.var] = value.astype(it.var.ty.dtype)
    accesses: list[tuple[tirx.Buffer, list[tirx.Expr]]] = []
    conditions: list[tirx.Expr] = []

    tvm_ffi.structural_walk(
        block.body,
        (
            (tirx.BufferStore, lambda it: accesses.insert(0, (it.buffer, list(it.indices)))),
            (tvm.ir.TensorLoad, lambda it: accesses.append((it.source, list(it.indices)))),
            (
                tvm.ir.Call,
                lambda it: conditions.append(it.args[0]) if getattr(it.op, "name", "") == _CONDITION else None,
            ),
        ),
    )

    def steps(buffer: tirx.Buffer, indices: list[tirx.Expr]) -> tuple[int, ...] | None:
        flat: tirx.Expr = tirx.const(0, "int64")
        for extent, index in zip(buffer.shape, indices, strict=True):
            flat = flat * int(extent) + index.astype("int64")
        found = sym.detect_linear_equation(analyzer.simplify(_with(flat, numbers)), digits)
        if not found or not all(isinstance(it, tirx.IntImm) for it in found[:-1]):
            return None
        return tuple(int(it) for it in found[:-1])

    conditions = [analyzer.simplify(_with(condition, numbers)) for condition in conditions]
    asked = {index for it in conditions for index, digit in enumerate(digits) if mentions(it, digit)}
    ends = {end for it in conditions for end in _ends(it, digits[-1])}
    return Walk(factors, tuple(steps(*access) for access in accesses), frozenset(asked), frozenset(ends))


def _with(expression: tirx.Expr, numbers: Mapping[tirx.Var, tirx.Expr]) -> tirx.Expr:
    """An expression with other expressions in the places of variables."""
    return tvm_ffi.structural_mutate(expression, ((tirx.Var, lambda it, _: numbers.get(it, it)),))


def _ends(condition: tirx.Expr, digit: tirx.Var) -> set[int]:
    """Where a condition on one variable turns: the first number for which it is another than for that before."""
    found: set[int] = set()

    def visit(node: tirx.LT | tirx.LE) -> None:
        steps = [it for it in sym.detect_linear_equation(node.a - node.b, [digit]) if isinstance(it, tirx.IntImm)]
        if len(steps) == 2 and abs(int(steps[0])) == 1:
            step, start = map(int, steps)
            found.add(-start * step + (0 if isinstance(node, tirx.LT) == (step == 1) else 1))

    tvm_ffi.structural_walk(condition, (((tirx.LT, tirx.LE), visit),))
    return found


def _cuts(body: tirx.Stmt, it: tirx.IterVar) -> set[int]:
    """By what an index is divided."""
    cuts: set[int] = set()

    def visit(node: tirx.FloorDiv | tirx.FloorMod) -> None:
        if not isinstance(node.b, tirx.IntImm):
            return
        of, by = node.a, int(node.b)
        if it.var.same_as(of) or (isinstance(of, tirx.FloorMod) and it.var.same_as(of.a)):
            cuts.add(by)
        elif isinstance(of, tirx.FloorDiv) and it.var.same_as(of.a) and isinstance(of.b, tirx.IntImm):
            cuts.add(by * int(of.b))

    tvm_ffi.structural_walk(body, (((tirx.FloorDiv, tirx.FloorMod), visit),))
    return cuts


def _factors(it: tirx.IterVar, cuts: set[int]) -> tuple[int, ...]:
    """An index's extent as a product, in which each of ``cuts`` is what some last factors make."""
    extent = int(it.dom.extent)
    factors: list[int] = []
    inner = 1
    for cut in sorted(cuts):
        if 1 < cut < extent and extent % cut == 0 and cut % inner == 0 and cut > inner:
            factors.insert(0, cut // inner)
            inner = cut
    return (extent // inner, *factors)
