"""ONNX's own tests of its operators: each a model of a few nodes, with inputs and the outputs that it must give.

Source: ``onnx.backend.test``, https://github.com/onnx/onnx/tree/main/onnx/backend/test/case/node.
"""

from __future__ import annotations

import contextlib
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from onnx import defs, numpy_helper

from onnx_wasm.benchmarks.bare_module import Laboratory, compiled
from onnx_wasm.errors import BuildError

Class = Literal["passed", "refused", "wrong", "crashed"]
CLASSES: tuple[Class, ...] = get_args(Class)

_KNOWN_BEFOREHAND: dict[str, tuple[str, ...]] = {
    "AffineGrid": ("size",),
    "BlackmanWindow": ("size",),
    "CenterCropPad": ("shape",),
    "Col2Im": ("image_shape", "block_shape"),
    "Compress": ("condition",),
    "ConstantOfShape": ("input",),
    "CumProd": ("axis",),
    "CumSum": ("axis",),
    "DFT": ("dft_length", "axis"),
    "Dropout": ("training_mode",),
    "Expand": ("shape",),
    "HammingWindow": ("size",),
    "HannWindow": ("size",),
    "If": ("cond",),
    "Loop": ("M", "cond"),
    "MaxUnpool": ("output_shape",),
    "MelWeightMatrix": ("num_mel_bins", "dft_length", "sample_rate", "lower_edge_hertz", "upper_edge_hertz"),
    "NonMaxSuppression": ("max_output_boxes_per_class",),
    "OneHot": ("depth",),
    "Pad": ("pads", "axes"),
    "Range": ("start", "limit", "delta"),
    "Reshape": ("shape",),
    "Resize": ("roi", "scales", "sizes"),
    "STFT": ("frame_step", "frame_length"),
    "SequenceAt": ("position",),
    "SequenceErase": ("position",),
    "SequenceInsert": ("position",),
    "Slice": ("starts", "ends", "axes", "steps"),
    "Split": ("split",),
    "SplitToSequence": ("split",),
    "Squeeze": ("axes",),
    "Tile": ("repeats",),
    "TopK": ("K",),
    "Trilu": ("k",),
    "Unsqueeze": ("axes",),
    "Upsample": ("scales",),
    **{
        f"Reduce{how}": ("axes",)
        for how in ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")
    },
}
"""The inputs, by the names in the operators' schemas, whose values decide shapes or which loops are compiled."""

_OF_SHAPES_ALONE = ("Shape", "Size")


@dataclass(frozen=True)
class NodeTest:
    """A test.

    Args:
        name: As ONNX names it.
        model: The model.
        inputs: The value of each of its inputs, by name.
        outputs: The values that its outputs must have, in order.
        rtol: The relative difference allowed.
        atol: The absolute difference allowed.
    """

    name: str
    model: onnx.ModelProto
    inputs: Mapping[str, Any]
    outputs: Sequence[Any]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Verdict:
    """What came of a test.

    Args:
        kind: ``passed``; ``refused`` with a plain message; ``wrong``, an output differs; or ``crashed``.
        message: Why it did not pass.
        bound: Inputs that were made constants, because the model is refused if they are not known beforehand.
    """

    kind: Class
    message: str = ""
    bound: tuple[str, ...] = ()


def load() -> dict[str, NodeTest]:
    """Makes all tests of the ONNX in use, by name."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = loader.load_node_model_tests()
    return {case.name: _node_test(case) for case in cases}


def judge(test: NodeTest, laboratory: Laboratory) -> Verdict:
    """Compiles a test's model and runs it.

    A model is compiled as it is. If that is refused, the inputs that ``_KNOWN_BEFOREHAND`` names, and those that they
    are computed from, become constants.

    Args:
        test: The test.
        laboratory: Where models are run.

    Returns:
        The verdict; of what is raised here nothing is caught but refusals.
    """
    try:
        return _judged(test, test.model, laboratory)
    except BuildError as refusal:
        model, bound = _bound(test)
        if not bound:
            return Verdict("refused", str(refusal))
    try:
        verdict = _judged(test, model, laboratory)
    except BuildError as refusal:
        return Verdict("refused", str(refusal), bound)
    return Verdict(verdict.kind, verdict.message, bound)


def difference(found: Sequence[np.ndarray], wanted: Sequence[Any], rtol: float, atol: float) -> str:
    """Holds outputs against what they must be, as ``onnx.backend.test.runner`` does.

    Args:
        found: The outputs.
        wanted: What they must be.
        rtol: The relative difference allowed.
        atol: The absolute difference allowed.

    Returns:
        What is wrong, in a line; empty if nothing is.
    """
    if len(found) != len(wanted):
        return f"{len(found)} outputs, not {len(wanted)}"
    for index, (got, right) in enumerate(zip(found, wanted, strict=True)):
        if isinstance(right, list):
            return f"output {index} is a tensor, not a sequence"
        if (got.dtype, got.shape) != (right.dtype, right.shape):
            return f"output {index} is {got.dtype}{list(got.shape)}, not {right.dtype}{list(right.shape)}"
        close = np.isclose(got, right, rtol=rtol, atol=atol, equal_nan=True)
        if not close.all():
            at = tuple(int(it) for it in np.argwhere(~close)[0])
            count = int((~close).sum())
            return f"output {index}{list(at)} is {got[at]}, not {right[at]}; {count} of {got.size} elements differ"
    return ""


def _node_test(case: Any) -> NodeTest:
    ((inputs, outputs),) = case.data_sets
    names = [value.name for value in case.model.graph.input]
    given = dict(zip(names, map(_plain, inputs), strict=True))
    return NodeTest(case.name, case.model, given, [_plain(it) for it in outputs], case.rtol, case.atol)


def _plain(value: Any) -> Any:
    """Tensors as arrays, in whichever of three ways a test has them; sequences and what is not there as they are."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, np.generic) else value


def _judged(test: NodeTest, model: onnx.ModelProto, laboratory: Laboratory) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="onnx-wasm-node-test-") as folder, contextlib.chdir(folder):
        path = Path(f"{test.name}.onnx")
        path.write_bytes(model.SerializeToString())
        found = laboratory.run(compiled(path, Path(), test.name), test.inputs)
    wrong = difference(found, test.outputs, test.rtol, test.atol)
    return Verdict("wrong", wrong) if wrong else Verdict("passed")


def _bound(test: NodeTest) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """The model with what must be known beforehand as constants, and the names of those."""
    needed = _needed(test.model.graph)
    names = tuple(name for name, value in test.inputs.items() if name in needed and isinstance(value, np.ndarray))
    model = onnx.ModelProto()
    model.CopyFrom(test.model)
    inputs = [value for value in model.graph.input if value.name not in names]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(numpy_helper.from_array(test.inputs[name], name) for name in names)
    return model, names


def _needed(graph: onnx.GraphProto) -> set[str]:
    """The values that the shapes and loops of a graph depend on."""
    nodes = list(_nodes(graph))
    makers = {output: node for node in nodes for output in node.output}
    waiting = [name for node in nodes for name in _known_beforehand(node)]
    needed: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        needed.add(name)
        maker = makers.get(name)
        if maker is not None and maker.op_type not in _OF_SHAPES_ALONE:
            waiting += [source for node in (maker, *_inside(maker)) for source in node.input]
    return needed


def _known_beforehand(node: onnx.NodeProto) -> Iterator[str]:
    wanted = _KNOWN_BEFOREHAND.get(node.op_type, ())
    if wanted and node.domain in ("", "ai.onnx"):
        parameters = defs.get_schema(node.op_type).inputs
        yield from (given for given, it in zip(node.input, parameters, strict=False) if it.name in wanted)


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        yield from _inside(node)


def _inside(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            yield from _nodes(graph)
