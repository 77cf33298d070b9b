"""The rule for kernels that treat every channel alike: a run of neighbouring channels in registers."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.anchors.channels import CHANNELS
from onnx_wasm.compiler.schedules.blocks import anchored, count, extent, split_axes, vectorize, write_out

_FEW_TAPS = 25


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel whose main block is ``channels``."""
    found = anchored(sch, CHANNELS)
    if found is None:
        return None
    anchor, final = found
    (row, channel), taps = split_axes(sch, anchor)
    run = next((it for it in (16, 8, 4) if extent(sch, channel) % it == 0), 1)
    run_of_channels, inner = sch.split(channel, [None, run])
    sch.reorder(row, run_of_channels, *taps, inner)
    sch.reverse_compute_at(final, run_of_channels)
    vectorize(sch, inner, unroll=True)
    start = sch.decompose_reduction(anchor, taps[0])
    write_out(sch, sch.get_loops(start)[2:])
    write_out(sch, sch.get_loops(final)[2:])
    if count(sch, taps) <= _FEW_TAPS:
        for tap in taps:
            sch.unroll(tap)
    return sch, [] if run > 1 else [CHANNELS]
