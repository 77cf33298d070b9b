"""Lines as pictures of height one: convolutions and pools over [N, C, W] become those over [N, C, 1, W].

So do the elementwise operators and concatenations between them: later passes know pictures, and chains of them.
"""

from __future__ import annotations

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.held import Held, Holder
from onnx_wasm.compiler.graph.rewriter import array_of, constant, integers, is_constant, shape_of

_RANK = 3


def lines_as_pictures(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Lines(module).run()


class _Lines(Holder):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {
            **self.rules,
            "relax.nn.conv1d": self._convolution,
            "relax.nn.max_pool1d": self._pool,
            "relax.nn.avg_pool1d": self._pool,
            "relax.concat": self.concat_of_channels,
        }

    def to_form(self, value: relax.Expr) -> relax.Expr:
        """[N, C, W] as [N, C, 1, W]."""
        batch, channels, width = shape_of(value)
        return self.emit(R.reshape(value, (batch, channels, 1, width)))

    def from_form(self, held: Held) -> relax.Expr:
        """Gives a line its three dimensions back."""
        return self.emit(R.reshape(held.value, held.shape))

    def operand(self, argument: relax.Expr, shape: tuple[int, ...]) -> relax.Expr | None:
        """Lines, and constants that go with them."""
        extents = shape_of(argument)
        if len(shape) != _RANK:
            return None
        if is_constant(argument):
            return argument if len(extents) <= 1 else constant(array_of(argument)[..., None, :])
        return self.form(argument) if isinstance(argument, relax.Var) and len(extents) == _RANK else None

    def _convolution(self, call: relax.Call) -> Held | None:
        data, how = call.args[0], call.attrs
        weights = self.stored(call.args[1])
        if weights is None or not isinstance(data, relax.Var) or (how.data_layout, how.kernel_layout) != ("NCW", "OIW"):
            return None
        before, after = integers(how.padding)
        picture = R.nn.conv2d(
            self.form(data),
            self.read(weights.laid_out(lambda it: it[:, :, None])),
            strides=[1, *integers(how.strides)],
            padding=[0, before, 0, after],
            dilation=[1, *integers(how.dilation)],
            groups=int(how.groups),
            out_dtype=how.out_dtype,
        )
        return Held(self.emit(picture), shape_of(call))

    def _pool(self, call: relax.Call) -> Held | None:
        data, how = call.args[0], call.attrs
        if not isinstance(data, relax.Var) or how.layout != "NCW":
            return None
        pool = R.nn.max_pool2d if call.op.name == "relax.nn.max_pool1d" else R.nn.avg_pool2d
        before, after = integers(how.padding)
        picture = pool(
            self.form(data),
            pool_size=[1, *integers(how.pool_size)],
            strides=[1, *integers(how.strides)],
            padding=[0, before, 0, after],
            dilation=[1, *integers(how.dilation)],
            ceil_mode=bool(how.ceil_mode),
            count_include_pad=bool(how.count_include_pad),
        )
        return Held(self.emit(picture), shape_of(call))
