"""What runs in which order on which storage: ``main``'s list of calls, with a place for every tensor."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import tvm
from tvm import relax

from onnx_wasm.compiler import memory
from onnx_wasm.errors import BuildError, Problem

COPY = "__copy"
_MEMORY = 1 << 32  # bytes that wasm32 can address
INPUTS, OUTPUTS, PARAMS, WORKSPACE = AREAS = ("inputs", "outputs", "params", "workspace")


@dataclass(frozen=True)
class Tensor:
    """A tensor, or a view of one under another shape.

    Args:
        buffer: The storage that it stands on; views of one tensor share it.
        dtype: As NumPy names it.
        shape: Static.
    """

    buffer: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return math.prod(self.shape) * int(tvm.DataType(self.dtype).itemsize)


@dataclass(frozen=True)
class Call:
    """One call of a kernel, or of ``COPY``, which copies one tensor to another.

    Args:
        kernel: The PrimFunc's name.
        reads: The tensors it reads, in the order of its arguments.
        writes: The tensors it writes: its last arguments.
    """

    kernel: str
    reads: tuple[Tensor, ...]
    writes: tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where a buffer stands: an area, and bytes from its start, a multiple of 64."""

    area: str
    offset: int


@dataclass(frozen=True)
class Plan:
    """A compiled graph.

    Args:
        preparation: Calls that read weights alone, in the order they run, once, before all runs.
        calls: Those that each run makes, in their order.
        inputs: In ``main``'s order.
        outputs: In the order that ``main`` returns them.
        params: The weights that calls read.
        values: Of the params, by buffer.
        places: Of every buffer.
        sizes: Bytes of each area.
    """

    preparation: tuple[Call, ...]
    calls: tuple[Call, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: tuple[Tensor, ...]
    values: dict[str, np.ndarray]
    places: dict[str, Place]
    sizes: dict[str, int]


def plan(main: relax.Function, scratch: Mapping[str, int], label: str, *, resident: bool = False) -> Plan:
    """Reads ``main`` as ``lowering.to_loops`` leaves it and gives every tensor its place.

    Args:
        main: Allocations, views and calls only, weights as constants.
        scratch: For each kernel that needs storage of its own while it runs, the bytes. It gets them as a last
            argument.
        label: What messages call the model.
        resident: Whether the workspace is kept from run to run, so that some calls can be made once.

    Raises:
        BuildError: Something in ``main`` is not a call of a kernel with static shapes, or all tensors together are more
            than wasm32 can address.
    """
    reader = _Reader(label)
    inputs = reader.parameters(main)
    outputs = reader.body(main.body)
    calls = [_with_scratch(call, index, scratch.get(call.kernel, 0)) for index, call in enumerate(reader.calls)]
    calls, outputs = _with_own_outputs(calls, outputs, {tensor.buffer for tensor in (*inputs, *reader.params)})
    read = {tensor.buffer for call in calls for tensor in call.reads}
    params = {tensor: value for tensor, value in reader.params.items() if tensor.buffer in read}
    preparation = _preparation(calls, params, outputs) if resident else []
    placed = _placed(preparation, [call for call in calls if call not in preparation], inputs, outputs, params)
    needed = sum(placed.sizes.values())
    if needed >= _MEMORY:
        message = f"the model needs {needed:,} bytes of memory while it runs; wasm32 has 4 GiB"
        raise BuildError(Problem(label, message, "freeze smaller dimensions"))
    return placed


class _Reader:
    """Follows each of ``main``'s variables to the tensors it stands for, and collects the calls."""

    def __init__(self, label: str) -> None:
        self.calls: list[Call] = []
        self.params: dict[Tensor, np.ndarray] = {}
        self._label = label
        self._values: dict[relax.Var, tuple[Tensor, ...]] = {}
        self._unwritten: set[str] = set()

    def parameters(self, main: relax.Function) -> list[Tensor]:
        """The inputs."""
        tensors = [self._tensor(f"input_{index}", variable) for index, variable in enumerate(main.params)]
        self._values.update((variable, (tensor,)) for variable, tensor in zip(main.params, tensors, strict=True))
        return tensors

    def body(self, body: relax.SeqExpr) -> list[Tensor]:
        for block in body.blocks:
            for binding in block.bindings:
                self._binding(binding)
        return list(self._resolve(body.body))

    def _binding(self, binding: relax.Binding) -> None:
        variable, value = binding.var, binding.value
        if not isinstance(value, tvm.ir.Call):
            self._values[variable] = self._resolve(value)
            return
        name = getattr(value.op, "name", "")
        if name == "relax.builtin.alloc_tensor":
            tensor = self._tensor(f"tensor_{len(self._values)}", variable)
            self._values[variable] = (tensor,)
            self._unwritten.add(tensor.buffer)
        elif name == "relax.reshape":
            (source,) = self._resolve(value.args[0])
            self._values[variable] = (self._tensor(source.buffer, variable),)
        elif isinstance(value.op, tvm.ir.GlobalVar):
            self._call(value.op.name_hint, [tensor for argument in value.args for tensor in self._resolve(argument)])
            self._values[variable] = ()
        else:
            raise self._refusal(f"{name or value.op} is left after lowering")

    def _call(self, kernel: str, arguments: list[Tensor]) -> None:
        writes = tuple(tensor for tensor in arguments if tensor.buffer in self._unwritten)
        reads = tuple(tensor for tensor in arguments if tensor.buffer not in self._unwritten)
        self._unwritten.difference_update(tensor.buffer for tensor in writes)
        self.calls.append(Call(kernel, reads, writes))

    def _resolve(self, value: relax.Expr) -> tuple[Tensor, ...]:
        if isinstance(value, relax.Tuple):
            return tuple(tensor for field in value.fields for tensor in self._resolve(field))
        if isinstance(value, relax.TupleGetItem):
            return (self._resolve(value.tuple_value)[value.index],)
        if isinstance(value, relax.Var):
            return self._values[value]
        if isinstance(value, tvm.ir.GenericConst):
            return (self._param(value),)
        raise self._refusal(f"{type(value).__name__} is left after lowering")

    def _param(self, constant: tvm.ir.GenericConst) -> Tensor:
        """The tensor of a weight; equal weights share one."""
        array = constant.value.numpy()
        digest = hashlib.sha256(array).hexdigest()
        tensor = self._tensor(f"param_{digest}", constant)
        self.params.setdefault(tensor, array)
        return tensor

    def _tensor(self, buffer: str, variable: relax.Var) -> Tensor:
        shape = getattr(getattr(variable.ty, "shape", None), "values", None)
        if shape is None or not all(isinstance(extent, tvm.tirx.IntImm) for extent in shape):
            raise self._refusal(f"the shape of {getattr(variable, 'name', 'a constant')} is not known at compile time")
        return Tensor(buffer, str(variable.ty.dtype), tuple(int(extent) for extent in shape))

    def _refusal(self, reason: str) -> BuildError:
        return BuildError(Problem(self._label, f"the model cannot be compiled ahead of time: {reason}"))


def _with_scratch(call: Call, index: int, nbytes: int) -> Call:
    return replace(call, writes=(*call.writes, Tensor(f"scratch_{index}", "uint8", (nbytes,)))) if nbytes else call


def _with_own_outputs(calls: list[Call], outputs: list[Tensor], taken: set[str]) -> tuple[list[Call], list[Tensor]]:
    """Copies an output that is an input, a weight or another output too, so that each has storage of its own."""
    calls, own, taken = list(calls), [], set(taken)
    for index, tensor in enumerate(outputs):
        if tensor.buffer in taken:
            copy = Tensor(f"output_{index}", tensor.dtype, tensor.shape)
            calls.append(Call(COPY, (tensor,), (copy,)))
            tensor = copy  # noqa: PLW2901
        taken.add(tensor.buffer)
        own.append(tensor)
    return calls, own


def _preparation(calls: list[Call], params: Iterable[Tensor], outputs: list[Tensor]) -> list[Call]:
    """The calls that read weights alone, or what such calls wrote, and write no output."""
    known = {tensor.buffer for tensor in params}
    outside = {tensor.buffer for tensor in outputs}
    found = []
    for call in calls:
        written = {tensor.buffer for tensor in call.writes}
        if known >= {tensor.buffer for tensor in call.reads} and not written & outside:
            found.append(call)
            known |= written
    return found


def _placed(
    preparation: list[Call],
    calls: list[Call],
    inputs: list[Tensor],
    outputs: list[Tensor],
    params: Mapping[Tensor, np.ndarray],
) -> Plan:
    fixed = {INPUTS: inputs, OUTPUTS: outputs, PARAMS: list(params)}
    offsets = {area: memory.in_sequence((it.buffer, it.nbytes) for it in tensors) for area, tensors in fixed.items()}
    elsewhere = {it.buffer for tensors in fixed.values() for it in tensors}
    offsets[WORKSPACE] = memory.shared(_lifetimes(preparation, calls, elsewhere))
    return Plan(
        tuple(preparation),
        tuple(calls),
        tuple(inputs),
        tuple(outputs),
        tuple(params),
        {tensor.buffer: value for tensor, value in params.items()},
        {buffer: Place(area, at) for area, (table, _) in offsets.items() for buffer, at in table.items()},
        {area: size for area, (_, size) in offsets.items()},
    )


def _lifetimes(preparation: list[Call], calls: list[Call], elsewhere: set[str]) -> list[memory.Lifetime]:
    lifetimes: dict[str, memory.Lifetime] = {}
    kept = {tensor.buffer for call in preparation for tensor in call.writes}
    for index, call in enumerate([*preparation, *calls]):
        for tensor in (*call.reads, *call.writes):
            if tensor.buffer not in elsewhere:
                first = lifetimes[tensor.buffer].first if tensor.buffer in lifetimes else index
                last = len(preparation) + len(calls) if tensor.buffer in kept else index
                lifetimes[tensor.buffer] = memory.Lifetime(tensor.buffer, tensor.nbytes, first, last)
    return list(lifetimes.values())
