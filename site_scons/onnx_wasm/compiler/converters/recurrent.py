"""LSTM, GRU and RNN: the products with the inputs as one for all steps, then one kernel that walks the steps.

Definitions: https://onnx.ai/onnx/operators/onnx__LSTM.html, onnx__GRU.html and onnx__RNN.html. Behind the end of a
sequence that is shorter than others, what is put out is 0, as onnxruntime has it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax, tirx
from tvm.ir import GenericConst
from tvm.script.ir_builder import tirx as T  # noqa: N812 - TVM's own abbreviation

from onnx_wasm.compiler.converters.activations import Activation, activation
from onnx_wasm.compiler.converters.call import Call, Converter, constant
from onnx_wasm.compiler.converters.loops import in_order
from onnx_wasm.compiler.frontend.refusal import Refusal

_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_OF_STATE = 2  # the place of the activation that an LSTM applies to its state
_INITIAL_H, _INITIAL_C, _PEEPHOLES = 5, 6, 7
_TOWARDS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}

Buffers = Mapping[str, Any]
"""A kernel's buffers by name, each flat; an operand that is left out is not there."""


@dataclass(frozen=True)
class _Layer:
    """One direction of a node.

    Args:
        backwards: Whether the last step comes first.
        steps: The length of the sequences.
        batch: How many there are.
        hidden: Elements of a state.
        gates: Of the cell.
        functions: Its activations.
        clip: What bounds their operands on both sides; None if nothing does.
        varied: Whether the cell is of its other form: ``linear_before_reset``, ``input_forget``.
        dtype: What is computed with.
    """

    backwards: bool
    steps: int
    batch: int
    hidden: int
    gates: int
    functions: tuple[Activation, ...]
    clip: float | None
    varied: bool
    dtype: str

    @property
    def columns(self) -> int:
        """Elements of all gates."""
        return self.gates * self.hidden

    @property
    def lanes(self) -> int:
        """How many columns of the recurrent weights stand together."""
        return next(it for it in (16, 8, 4, 1) if self.hidden % it == 0)

    def activated(self, which: int, x: tirx.Expr) -> tirx.Expr:
        """An activation of the cell; a gate's operand is clipped, a state is not, as onnxruntime has it."""
        if self.clip is not None and which != _OF_STATE:
            bound = tirx.const(self.clip, self.dtype)
            x = tirx.max(tirx.min(x, bound), -bound)
        return self.functions[which](x)


Cell = Callable[[_Layer, Buffers, Any, Any], None]
"""Builds the loops of one step: from the layer, the buffers, where the step's projection and where its states begin."""


def _converter(cell: Cell) -> Converter:
    def convert(call: Call) -> list[relax.Expr]:
        operator = call.node.proto.op_type
        towards = _TOWARDS.get(call.attributes.get("direction", "forward"))
        if towards is None:
            raise Refusal(f'has the direction "{call.attributes["direction"]}"', "export the model again")
        functions = list(_activations(call, _DEFAULTS[operator], len(towards)))
        made = [_direction(call, cell, index, it, functions[index]) for index, it in enumerate(towards)]
        return [_outputs(call, [each[index] for each in made], index) for index in range(len(made[0]))]

    return convert


def _activations(call: Call, defaults: Sequence[str], directions: int) -> Iterator[tuple[Activation, ...]]:
    """The activations of each direction; those with parameters take the next that the attributes have."""
    count = len(defaults) * directions
    names = (call.attributes.get("activations") or [*defaults] * directions)[:count]
    if len(names) < count:
        raise Refusal(f"has {len(names)} activations, not {count}", "export the model again")
    alphas, betas = (iter(call.attributes.get(f"activation_{name}") or ()) for name in ("alpha", "beta"))
    found = [activation(name, alphas, betas) for name in names]
    for index in range(directions):
        yield tuple(found[index * len(defaults) : (index + 1) * len(defaults)])


def _direction(
    call: Call, cell: Cell, index: int, backwards: bool, functions: tuple[Activation, ...]
) -> list[relax.Expr]:
    """The outputs of one direction: [steps, batch, hidden], then each state [batch, hidden]."""
    x = call.operand(0)
    if call.attributes.get("layout"):
        x = call.emit(relax.op.permute_dims(x, [1, 0, 2]))
    steps, batch, width = (int(it) for it in x.ty.shape.values)
    weights, recurrent = _part(call, call.operand(1), index), _part(call, call.operand(2), index)
    columns, hidden = (int(it) for it in recurrent.ty.shape.values)
    dtype = str(x.ty.dtype)
    gates, clip = _GATES[call.node.proto.op_type], call.attributes.get("clip")
    varied = any(call.attributes.get(name) for name in ("linear_before_reset", "input_forget"))
    layer = _Layer(backwards, steps, batch, hidden, gates, functions, clip, varied, dtype)
    bias = call.input(3)
    shapes = [
        [int(it) for it in operand.ty.shape.values] for operand in (weights, *([bias] if bias is not None else []))
    ]
    if columns != layer.columns or [shape[-1] for shape in shapes] != [width, 2 * columns][: len(shapes)]:
        raise Refusal(
            f"has weights of other shapes than {gates} gates of {hidden} elements have", "export the model again"
        )
    rows = call.emit(relax.op.reshape(x, [steps * batch, width]))
    projected = call.emit(relax.op.matmul(rows, call.emit(relax.op.permute_dims(weights))))
    operands = {"recurrent": _panels(call, recurrent, layer)}
    if bias is not None:
        own = _slice(call, _part(call, bias, index), 0, columns)
        others = _slice(call, _part(call, bias, index), columns, 2 * columns)
        projected = call.emit(relax.op.add(projected, own))
        if gates == _GATES["GRU"] and varied:
            operands["bias"] = others
        else:
            projected = call.emit(relax.op.add(projected, others))
    operands["projected"] = projected
    if (lengths := call.input(4)) is not None:
        operands["lengths"] = lengths
    first = [call.input(_INITIAL_H)] + [call.input(_INITIAL_C)] * (gates == _GATES["LSTM"])
    for name, initial in zip(("first h", "first c"), first, strict=False):
        if initial is not None:
            operands[name] = _initial(call, initial, index)
    if gates == _GATES["LSTM"] and (peepholes := call.input(_PEEPHOLES)) is not None:
        operands["peepholes"] = _part(call, peepholes, index)
    return _kernel(call, cell, layer, operands, states=len(first))


def _kernel(call: Call, cell: Cell, layer: _Layer, operands: Mapping[str, relax.Expr], states: int) -> list[relax.Expr]:
    state = ([layer.batch, layer.hidden], layer.dtype)
    results = {
        "y": ([layer.steps, layer.batch, layer.hidden], layer.dtype),
        **dict.fromkeys(("h", "c")[:states], state),
        "gates": ([layer.columns], layer.dtype),
    }
    names = [*operands, *results]

    def write(*buffers: Any) -> None:
        _walk(cell, layer, dict(zip(names, buffers, strict=True)))

    made = call.kernel(lambda *it: in_order(list(results.values()), write, *it), *operands.values(), rule="recurrent")
    return [call.emit(relax.TupleGetItem(made, index)) for index in range(1 + states)]


def _walk(cell: Cell, layer: _Layer, its: Buffers) -> None:
    """Builds the loops over steps and sequences."""
    hidden, batch = layer.hidden, layer.batch
    zero = tirx.const(0, layer.dtype)
    for name in ("h", "c"):
        if name in its:
            with T.serial(0, batch * hidden) as i:
                its[name][i] = its[f"first {name}"][i] if f"first {name}" in its else zero
    with T.serial(0, layer.steps) as step, T.serial(0, batch) as sequence:
        state = sequence * hidden
        if "lengths" not in its:
            at = (layer.steps - 1 - step if layer.backwards else step) * batch + sequence
            cell(layer, its, at * layer.columns, state)
            with T.serial(0, hidden) as i:
                its["y"][at * hidden + i] = its["h"][state + i]
            return
        length = tirx.max(tirx.min(its["lengths"][sequence].astype("int32"), layer.steps), 0)
        with T.If(step < length):
            with T.Then():
                at = (length - 1 - step if layer.backwards else step) * batch + sequence
                cell(layer, its, at * layer.columns, state)
                with T.serial(0, hidden) as i:
                    its["y"][at * hidden + i] = its["h"][state + i]
            with T.Else(), T.serial(0, hidden) as i:
                its["y"][(step * batch + sequence) * hidden + i] = zero


def _add_products(layer: _Layer, its: Buffers, vector: Any, at: Any, first: int, count: int) -> None:
    """Builds ``gates += vector · recurrent`` for ``count`` gates from ``first`` on."""
    lanes = layer.lanes
    panels = layer.hidden // lanes
    gates, weights = its["gates"], its["recurrent"]
    with T.serial(0, count * panels) as panel, T.serial(0, layer.hidden) as k, T.vectorized(0, lanes) as lane:
        column = (first * panels + panel) * lanes + lane
        weight = weights[((first * panels + panel) * layer.hidden + k) * lanes + lane]
        gates[column] = gates[column] + vector[at + k] * weight


def _lstm(layer: _Layer, its: Buffers, at: Any, state: Any) -> None:
    """Gates in the order input, output, forget, cell."""
    hidden, gates, h, c = layer.hidden, its["gates"], its["h"], its["c"]
    with T.serial(0, layer.columns) as i:
        gates[i] = its["projected"][at + i]
    _add_products(layer, its, h, state, 0, 4)

    def gate(which: int, i: Any, peephole: int, of: Any) -> tirx.Expr:
        value = gates[which * hidden + i]
        if "peepholes" in its:
            value = value + its["peepholes"][peephole * hidden + i] * of
        return layer.activated(0, value)

    with T.serial(0, hidden) as i:
        gates[i] = gate(0, i, 0, c[state + i])
        if layer.varied:
            gates[2 * hidden + i] = tirx.const(1, layer.dtype) - gates[i]
        else:
            gates[2 * hidden + i] = gate(2, i, 2, c[state + i])
        c[state + i] = gates[2 * hidden + i] * c[state + i] + gates[i] * layer.activated(1, gates[3 * hidden + i])
        h[state + i] = gate(1, i, 1, c[state + i]) * layer.activated(2, c[state + i])


def _gru(layer: _Layer, its: Buffers, at: Any, state: Any) -> None:
    """Gates in the order update, reset, hidden."""
    hidden, gates, h, projected = layer.hidden, its["gates"], its["h"], its["projected"]
    last, zero = 2 * hidden, tirx.const(0, layer.dtype)
    bias: Callable[[Any], tirx.Expr] = (lambda i: its["bias"][i]) if "bias" in its else lambda _: zero
    with T.serial(0, last) as i:
        gates[i] = projected[at + i] + bias(i) if "bias" in its else projected[at + i]
    with T.serial(0, hidden) as i:
        gates[last + i] = bias(last + i) if layer.varied else projected[at + last + i]
    _add_products(layer, its, h, state, 0, 3 if layer.varied else 2)
    with T.serial(0, hidden) as i:
        gates[i] = layer.activated(0, gates[i])
        gates[hidden + i] = layer.activated(0, gates[hidden + i])
    if layer.varied:
        with T.serial(0, hidden) as i:
            gates[last + i] = projected[at + last + i] + gates[hidden + i] * gates[last + i]
    else:
        with T.serial(0, hidden) as i:
            gates[hidden + i] = gates[hidden + i] * h[state + i]
        _add_products(layer, its, gates, hidden, 2, 1)
    with T.serial(0, hidden) as i:
        new = layer.activated(1, gates[last + i])
        h[state + i] = (tirx.const(1, layer.dtype) - gates[i]) * new + gates[i] * h[state + i]


def _rnn(layer: _Layer, its: Buffers, at: Any, state: Any) -> None:
    gates = its["gates"]
    with T.serial(0, layer.hidden) as i:
        gates[i] = its["projected"][at + i]
    _add_products(layer, its, its["h"], state, 0, 1)
    with T.serial(0, layer.hidden) as i:
        its["h"][state + i] = layer.activated(0, gates[i])


def _part(call: Call, tensor: relax.Expr, index: int) -> relax.Expr:
    """One of a tensor's first axis."""
    if isinstance(tensor, GenericConst):
        return constant(tensor.value.numpy()[index])
    shape = [int(it) for it in tensor.ty.shape.values]
    if shape[0] > 1:
        tensor = call.emit(relax.op.strided_slice(tensor, [0], [index], [index + 1]))
    return call.emit(relax.op.reshape(tensor, shape[1:]))


def _slice(call: Call, vector: relax.Expr, start: int, end: int) -> relax.Expr:
    if isinstance(vector, GenericConst):
        return constant(vector.value.numpy()[start:end])
    return call.emit(relax.op.strided_slice(vector, [0], [start], [end]))


def _panels(call: Call, recurrent: relax.Expr, layer: _Layer) -> relax.Expr:
    """The recurrent weights [columns, hidden] as the kernel reads them: [columns / lanes, hidden, lanes]."""
    split = [layer.columns // layer.lanes, layer.lanes, layer.hidden]
    if isinstance(recurrent, GenericConst):
        return constant(np.ascontiguousarray(recurrent.value.numpy().reshape(split).transpose(0, 2, 1)))
    return call.emit(relax.op.permute_dims(call.emit(relax.op.reshape(recurrent, split)), [0, 2, 1]))


def _initial(call: Call, states: relax.Expr, index: int) -> relax.Expr:
    """The states [batch, hidden] that a direction begins with."""
    if call.attributes.get("layout"):
        states = call.emit(relax.op.permute_dims(states, [1, 0, 2]))
    return _part(call, states, index)


def _outputs(call: Call, parts: Sequence[relax.Expr], which: int) -> relax.Expr:
    """What the directions give as one tensor: the directions' axis is before those of batch and state."""
    rank = len(parts[0].ty.shape.values)
    spread = [call.emit(relax.op.expand_dims(it, rank - 2)) for it in parts]
    whole = call.emit(relax.op.concat(spread, axis=rank - 2)) if len(spread) > 1 else spread[0]
    if call.attributes.get("layout"):
        return call.emit(relax.op.permute_dims(whole, [1, 0, 2] if which else [2, 0, 1, 3]))
    return whole


CONVERTERS: dict[tuple[str, str], Converter] = {
    ("", "GRU"): _converter(_gru),
    ("", "LSTM"): _converter(_lstm),
    ("", "RNN"): _converter(_rnn),
}
