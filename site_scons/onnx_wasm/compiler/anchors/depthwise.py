"""Depthwise convolution: each channel by itself, a run of neighbouring pixels in registers.

One block ``depthwise`` accumulates the run, so that what the windows of its pixels share is read once, and a block
writes it.
"""

from __future__ import annotations

from tvm import te, tirx

from onnx_wasm.compiler.anchors.gemm import Window, rounded_up
from onnx_wasm.compiler.anchors.integers import term as term_of

DEPTHWISE = "depthwise"

_WIDE = 5
_RUNS = {7: 1.0, 4: 1.1}
"""The lengths of a run for a wide window, and what a pixel costs: seven, what they read and a weight fill the registers
of x86-64."""
_RUN = 4


def choose_run(width: int, taps: int) -> int:
    """Chooses how many neighbouring pixels are computed together.

    Args:
        width: Of the output.
        taps: The width of the window.
    """
    if taps < _WIDE:
        return _RUN
    return min(_RUNS, key=lambda run: rounded_up(width, run) * _RUNS[run])


def width_read(window: Window, taps: int, run: int) -> int:
    """The width of the padded picture: the last run of a line may stand over its edge."""
    pixels = rounded_up(window.out[1], run)
    return (pixels - 1) * window.strides[1] + (taps - 1) * window.dilation[1] + 1


def depthwise(x: te.Tensor, weights: te.Tensor, window: Window, run: int) -> te.Tensor:
    """``x`` [N, H, W, C], padded to ``width_read``, with weights [KH, KW, C]: [N·OH·OW, C]."""
    batch, _, _, channels = (int(extent) for extent in x.shape)
    height, width = window.out
    kh, kw = (te.reduce_axis((0, int(it)), name) for it, name in zip(weights.shape[:2], ("kh", "kw"), strict=True))

    def term(line: tirx.Expr, pixel: tirx.Expr, channel: tirx.Expr) -> tirx.Expr:
        at_height = line % height * window.strides[0] + kh * window.dilation[0]
        at_width = pixel * window.strides[1] + kw * window.dilation[1]
        return term_of(lambda at: x(line // height, at_height, at_width, at), channel, weights(kh, kw, channel))

    total = te.compute(
        (batch * height, rounded_up(width, run), channels),
        lambda *at: te.sum(term(*at), axis=[kh, kw]),
        name=DEPTHWISE,
        attrs={"run": run},
    )
    return te.compute(
        (batch * height * width, channels),
        lambda row, channel: total[row // width, row % width, channel],
        name="written",
    )
