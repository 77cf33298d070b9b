"""Lines as pictures of height one: convolutions and pools over [N, C, W] become those over [N, C, 1, W].

So do the elementwise operators and concatenations between them: later passes know pictures, and chains of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import tvm
from tvm import relax
from tvm.relax import op as R  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.graph.elementwise import BINARY, UNARY
from onnx_wasm.compiler.graph.rewriter import Rewriter, array_of, constant, integers, is_constant, shape_of

_RANK = 3


@dataclass(frozen=True)
class Line:
    """A tensor [N, C, W], held as [N, C, 1, W].

    Args:
        value: The picture.
    """

    value: relax.Expr


def lines_as_pictures(module: tvm.IRModule) -> tvm.IRModule:
    """Applies the pass."""
    return _Lines(module).run()


class _Lines(Rewriter):
    def __init__(self, module: tvm.IRModule) -> None:
        super().__init__(module)
        self.rules = {
            "relax.nn.conv1d": self._convolution,
            "relax.nn.max_pool1d": self._pool,
            "relax.nn.avg_pool1d": self._pool,
            "relax.concat": self._concat,
            **dict.fromkeys(UNARY, self._unary),
            **dict.fromkeys(BINARY, self._binary),
        }
        self._pictures: dict[relax.Var, relax.Expr] = {}
        self._tensors: dict[relax.Var, relax.Expr] = {}

    def rewritten(self, expression: relax.Expr) -> relax.Expr:
        """Gives a line its three dimensions back, once."""
        value = self.values.get(expression) if isinstance(expression, relax.Var) else None
        if not isinstance(value, Line):
            return super().rewritten(expression)
        if expression not in self._tensors:
            self._tensors[expression] = self.emit(R.reshape(value.value, shape_of(expression)))
        return self._tensors[expression]

    def _picture(self, expression: relax.Var) -> relax.Expr:
        value = self.values[expression]
        if isinstance(value, Line):
            return value.value
        if expression not in self._pictures:
            batch, channels, width = shape_of(expression)
            self._pictures[expression] = self.emit(R.reshape(value, (batch, channels, 1, width)))
        return self._pictures[expression]

    def _is_line(self, expression: relax.Expr) -> bool:
        return isinstance(expression, relax.Var) and isinstance(self.values.get(expression), Line)

    def _convolution(self, call: relax.Call) -> Line | None:
        data, how = call.args[0], call.attrs
        weights = self.stored(call.args[1])
        if weights is None or not isinstance(data, relax.Var) or (how.data_layout, how.kernel_layout) != ("NCW", "OIW"):
            return None
        before, after = integers(how.padding)
        picture = R.nn.conv2d(
            self._picture(data),
            self.read(weights.laid_out(lambda it: it[:, :, None])),
            strides=[1, *integers(how.strides)],
            padding=[0, before, 0, after],
            dilation=[1, *integers(how.dilation)],
            groups=int(how.groups),
            out_dtype=how.out_dtype,
        )
        return Line(self.emit(picture))

    def _pool(self, call: relax.Call) -> Line | None:
        data, how = call.args[0], call.attrs
        if not isinstance(data, relax.Var) or how.layout != "NCW":
            return None
        pool = R.nn.max_pool2d if call.op.name == "relax.nn.max_pool1d" else R.nn.avg_pool2d
        before, after = integers(how.padding)
        picture = pool(
            self._picture(data),
            pool_size=[1, *integers(how.pool_size)],
            strides=[1, *integers(how.strides)],
            padding=[0, before, 0, after],
            dilation=[1, *integers(how.dilation)],
            ceil_mode=bool(how.ceil_mode),
            count_include_pad=bool(how.count_include_pad),
        )
        return Line(self.emit(picture))

    def _concat(self, call: relax.Call) -> Line | None:
        parts = call.args[0].fields if isinstance(call.args[0], relax.Tuple) else []
        if len(shape_of(call)) != _RANK or int(call.attrs.axis) != 1 or not any(map(self._is_line, parts)):
            return None
        if not all(isinstance(part, relax.Var) for part in parts):
            return None
        return Line(self.emit(R.concat([self._picture(part) for part in parts], axis=1)))

    def _unary(self, call: relax.Call) -> Line | None:
        if not self._is_line(call.args[0]):
            return None
        rest = [self.rewritten(argument) for argument in call.args[1:]]
        return Line(self.emit(relax.Call(call.op, [self._picture(call.args[0]), *rest], call.attrs)))

    def _binary(self, call: relax.Call) -> Line | None:
        if len(shape_of(call)) != _RANK or not any(map(self._is_line, call.args)):
            return None
        operands = [self._operand(argument) for argument in call.args]
        if any(operand is None for operand in operands):
            return None
        return Line(self.emit(relax.Call(call.op, operands, call.attrs)))

    def _operand(self, argument: relax.Expr) -> relax.Expr | None:
        shape = shape_of(argument)
        if is_constant(argument):
            return argument if len(shape) <= 1 else constant(array_of(argument)[..., None, :])
        return self._picture(argument) if isinstance(argument, relax.Var) and len(shape) == _RANK else None
