"""What a machine can do at most in a runtime: the lines of a roofline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import wasmtime

_ACCUMULATORS = 14
_LANES = 4
_VECTOR = 16
_LOADS = 8
_CACHED = 16 << 10
_STREAMED = 128 << 20
"""Bytes; caches hold a part of it."""

FUNCTIONS: Mapping[str, int] = {
    "flops": _ACCUMULATORS * _LANES * 2,
    "cache": _CACHED,
    "memory": _STREAMED,
}
"""The functions of ``module``, by what ``Ceilings`` calls what they tell: the operations, or bytes, of each turn."""


@dataclass(frozen=True)
class Ceilings:
    """A machine's.

    Args:
        flops: Operations a second on vectors of float32 that never leave the registers.
        cache: Bytes a second read from the nearest cache.
        memory: Bytes a second read from memory.
    """

    flops: float
    cache: float
    memory: float

    @staticmethod
    def of(seconds: Mapping[str, float]) -> Ceilings:
        """From the seconds that a turn of each of ``FUNCTIONS`` takes."""
        return Ceilings(**{name: each / seconds[name] for name, each in FUNCTIONS.items()})


def module(*, relaxed: bool = False) -> bytes:
    """The module that is measured: it exports ``FUNCTIONS``, each takes how many turns it is to make.

    Args:
        relaxed: Whether it may use relaxed SIMD.
    """
    text = f"""(module (memory {_STREAMED >> 16}) {_flops(relaxed=relaxed)} {_READ}
        {_reading("cache")} {_reading("memory")} (start $touch))"""
    return bytes(wasmtime.wat2wasm(text))


def _flops(*, relaxed: bool) -> str:
    def step(index: int) -> str:
        at = f"(local.get $a{index})"
        if relaxed:
            return f"(f32x4.relaxed_madd {at} {at} {at})"
        # Products and sums each by themselves: one after the other, they would wait for each other.
        return f"(f32x4.mul {at} {at})" if index % 2 else f"(f32x4.add {at} {at})"

    body = "\n".join(f"(local.set $a{index} {step(index)})" for index in range(_ACCUMULATORS))
    total = "(local.get $a0)"
    for index in range(1, _ACCUMULATORS):
        total = f"(f32x4.add {total} (local.get $a{index}))"
    locals_ = " ".join(f"(local $a{index} v128)" for index in range(_ACCUMULATORS))
    turns = "(local.get $times)" if relaxed else "(i32.shl (local.get $times) (i32.const 1))"
    return f"""(func (export "flops") (param $times i32) (result f32) {locals_}
        (local.set $times {turns}) ;; a product and a sum are one instruction or two
        (loop $again
            {body}
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (f32x4.extract_lane 0 {total}))"""


def _reading(name: str) -> str:
    return f"""(func (export "{name}") (param $times i32) (result i32) (local $found i32)
        (loop $again
            (local.set $found (i32.xor (local.get $found) (call $read (i32.const {FUNCTIONS[name]}))))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1)))))
        (local.get $found))"""


_READ = f"""
    (func $read (param $left i32) (result i32) (local $at i32) {" ".join(f"(local $a{n} v128)" for n in range(_LOADS))}
        (loop $again
            {
    " ".join(
        f"(local.set $a{n} (v128.xor (local.get $a{n}) (v128.load offset={n * _VECTOR} (local.get $at))))"
        for n in range(_LOADS)
    )
}
            (local.set $at (i32.add (local.get $at) (i32.const {_LOADS * _VECTOR})))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const {_LOADS * _VECTOR})))))
        (i32x4.extract_lane 0 {"(v128.xor " * (_LOADS - 1)}(local.get $a0){
    "".join(f" (local.get $a{n}))" for n in range(1, _LOADS))
}))
    (func $touch (local $at i32) ;; a page that was never written has no memory behind it
        (loop $again
            (i32.store (local.get $at) (local.get $at))
            (local.set $at (i32.add (local.get $at) (i32.const 4096)))
            (br_if $again (i32.lt_u (local.get $at) (i32.const {_STREAMED})))))
"""
