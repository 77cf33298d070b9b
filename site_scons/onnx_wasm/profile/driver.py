"""The module that times kernels: it calls each of them in a loop, so that a host's own call costs nothing."""

from __future__ import annotations

from collections.abc import Sequence

import wasmtime

from onnx_wasm.profile.calls import AREAS, Call


def driver(calls: Sequence[Call]) -> bytes:
    """Makes the driver of a model.

    Args:
        calls: What the model runs.

    Returns:
        A module that imports the kernels from ``model`` and the addresses of the four areas from ``areas``. For each
        call it exports a function, by the call's index, that makes the call as often as its argument says.
    """
    kernels = {call.kernel: len(call.places) for call in calls}
    lines = [
        *(f'(import "areas" "{area}" (global ${area} i32))' for area in AREAS),
        *(
            f'(import "model" "{kernel}" (func ${kernel} (param{" i32" * arguments}) (result i32)))'
            for kernel, arguments in kernels.items()
        ),
        *(_function(index, call) for index, call in enumerate(calls)),
    ]
    return bytes(wasmtime.wat2wasm("\n".join(("(module", *lines, ")"))))


def _function(index: int, call: Call) -> str:
    places = " ".join(f"(i32.add (global.get ${area}) (i32.const {offset}))" for area, offset in call.places)
    return f"""(func (export "{index}") (param $times i32)
        (loop $again
            (drop (call ${call.kernel} {places}))
            (br_if $again (local.tee $times (i32.sub (local.get $times) (i32.const 1))))))"""


def peak(*, relaxed: bool = False) -> bytes:
    """A module whose function ``peak`` multiplies and adds vectors that never leave the registers.

    Args:
        relaxed: With the fused instruction of relaxed SIMD.

    Returns:
        A module whose ``peak(times)`` does ``PEAK_FLOPS`` operations as often as its argument says.
    """
    locals_ = " ".join(f"(local $a{index} v128)" for index in range(_ACCUMULATORS))
    # Each product has an operand of its own: compilers compute equal ones once.
    turn = (
        "(f32x4.relaxed_madd {} (local.get $x) (local.get $y))"
        if relaxed
        else "(f32x4.add (f32x4.mul {} (local.get $x)) (local.get $y))"
    )
    body = "\n".join(
        f"(local.set $a{index} {turn.format(f'(local.get $a{index})')})"
        for _ in range(_WRITTEN_OUT)
        for index in range(_ACCUMULATORS)
    )
    total = "(local.get $a0)"
    for index in range(1, _ACCUMULATORS):
        total = f"(f32x4.add {total} (local.get $a{index}))"
    return bytes(
        wasmtime.wat2wasm(
            f"""(module (func (export "peak") (param $times i32) (result f32) {locals_} (local $x v128) (local $y v128)
            (local.set $x (f32x4.splat (f32.const 1.0000001)))
            (local.set $y (f32x4.splat (f32.const 0.9999)))
            (loop $again
                {body}
                (local.set $times (i32.sub (local.get $times) (i32.const 1)))
                (br_if $again (local.get $times)))
            (f32x4.extract_lane 0 {total})))"""
        )
    )


_ACCUMULATORS = 12
_WRITTEN_OUT = 4
PEAK_FLOPS = _ACCUMULATORS * _WRITTEN_OUT * 4 * 2
"""Operations of one turn of ``peak``'s loop."""
