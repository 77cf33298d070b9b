"""The rule for depthwise convolutions: a run of pixels, four channels of each, in registers."""

from __future__ import annotations

from tvm import s_tir

from onnx_wasm.compiler.anchors.depthwise import DEPTHWISE
from onnx_wasm.compiler.schedules.blocks import LANES, anchored, extent, name, simplified, split_axes, write_out

_FEW_RESULTS = 64
"""Taps of a line are written out for so many results."""


def schedule(sch: s_tir.Schedule) -> tuple[s_tir.Schedule, list[str]] | None:
    """Schedules a kernel whose main block is ``depthwise``."""
    found = anchored(sch, DEPTHWISE)
    if found is None:
        return None
    anchor, final = found
    row, _ = sch.get_loops(final)
    line, *_ = sch.get_loops(anchor)
    width = extent(sch, row) // extent(sch, line)
    sch.transform_block_layout(final, lambda row, channel: (row // width, row % width, channel))
    sch, (anchor, final) = simplified(sch, (DEPTHWISE, name(sch, final)))
    run = int(sch.get(anchor).annotations["run"])
    (line, pixel, channel), (kh, kw) = split_axes(sch, anchor)
    runs, pixels = sch.split(pixel, [None, run])
    whole = extent(sch, channel) % LANES == 0
    vectors, lane = sch.split(channel, [None, LANES if whole else 1])
    sch.reorder(line, runs, vectors, kh, kw, pixels, lane)
    sch.reverse_compute_at(final, vectors, preserve_unit_loops=True)
    if extent(sch, kw) * run <= _FEW_RESULTS:
        sch.unroll(kw)
    sch.unroll(pixels)
    sch.vectorize(lane)
    start = sch.decompose_reduction(anchor, kh)
    write_out(sch, sch.get_loops(start)[3:])
    write_out(sch, sch.get_loops(final)[3:])
    return sch, [] if whole else [DEPTHWISE]
