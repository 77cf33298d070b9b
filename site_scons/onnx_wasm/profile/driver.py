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
