"""Convolutions over volumes [N, C, D, H, W] become those over pictures, one for each depth of the result.

A picture's channels are those of all depths that the window sees there. So volumes are read as often as the window is
deep, and everything is summed in one product.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.rewriter import Rewriter, integers, shape_of


def volumes_as_pictures(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Volumes(module).run()


class _Volumes(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {"relax.nn.conv3d": self._convolution}

    def _convolution(self, call: relax.Call) -> relax.Expr | None:
        (data, kernel), how = call.args, call.attrs
        weights = self.stored(kernel)
        if weights is None or (how.data_layout, how.kernel_layout) != ("NCDHW", "OIDHW"):
            return None
        front, top, left, back, bottom, right = integers(how.padding)
        step, *strides = integers(how.strides)
        apart, *dilation = integers(how.dilation)
        out, inputs, taps, high, wide = shape_of(kernel)
        batch, _, depth, *extents = shape_of(call)
        volume = self.rewritten(data)
        if front or back:
            volume = self.emit(R.nn.pad(volume, [0, 0, 0, 0, front, back, 0, 0, 0, 0]))
        ends = [(tap * apart, tap * apart + (depth - 1) * step + 1) for tap in range(taps)]
        pictures = self._pictures([self.emit(R.strided_slice(volume, [2], [a], [b], [step])) for a, b in ends])
        convolved = R.nn.conv2d(
            pictures,
            self.read(weights.laid_out(lambda it: it.reshape(out, inputs * taps, high, wide))),
            strides=strides,
            padding=[top, left, bottom, right],
            dilation=dilation,
            groups=int(how.groups),
            out_dtype=how.out_dtype,
        )
        result = self.emit(R.reshape(self.emit(convolved), (batch, depth, out, *extents)))
        return self.emit(R.permute_dims(result, [0, 2, 1, 3, 4]))

    def _pictures(self, layers: list[relax.Expr]) -> relax.Expr:
        """What a window's taps see, each [N, C, OD, H, W], as pictures [N·OD, C·taps, H, W]."""
        batch, channels, depth, height, width = shape_of(layers[0])
        ordered = [self.emit(R.permute_dims(it, [0, 2, 1, 3, 4])) for it in layers]
        beside = [self.emit(R.reshape(it, (batch, depth, channels, 1, height, width))) for it in ordered]
        whole = self.emit(R.concat(beside, axis=3)) if len(beside) > 1 else beside[0]
        return self.emit(R.reshape(whole, (batch * depth, channels * len(layers), height, width)))
