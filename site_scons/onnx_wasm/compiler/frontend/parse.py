"""Bytes → an ONNX model: parsed, its external data loaded, its weights taken out, and checked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import checker, external_data_helper, numpy_helper

from onnx_wasm.compiler.frontend.graph import TensorType, dtype_of
from onnx_wasm.errors import BuildError, Problem

_OLDEST_IR = 3
_INITIALISERS_ALONE = 4  # the IR version from which initialisers need not be inputs
_LARGEST = 2**31 - 1  # what protobuf can hold; external data is not in it
_LONGEST_MESSAGE = 400


def parse(path: Path) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Reads an untrusted ONNX file.

    Args:
        path: The file; its external data lies beside it.

    Returns:
        The checked model, and the values of its initialisers. The model has them no more, so that what copies the model
        does not copy its weights: each is an input without being one of the module's.

    Raises:
        BuildError: It is no ONNX model, or a damaged one.
    """
    model = _decoded(path)
    _check_size(model, path)
    values = _take_initialisers(model, path)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (checker.ValidationError, ValueError, OSError) as error:
        raise _external(path, error) from error
    try:
        checker.check_model(_with_inputs(model, values))
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        message = f"not a valid ONNX model: {in_short(error)}"
        raise BuildError(Problem(str(path), message, "export it again")) from error
    return model, values


def in_short(error: Exception) -> str:
    """What a library says of a failure, on one line: without its own source's places, and not too long."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    said = [line for line in lines if line and not line.startswith(("==> Context", "Traceback", "File "))]
    text = "; ".join(said) or type(error).__name__
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"


def _decoded(path: Path) -> onnx.ModelProto:
    if path.stat().st_size > _LARGEST:
        message = f"is {path.stat().st_size} bytes; an ONNX file has at most 2 GiB, and a wasm32 module 4 GiB of memory"
        raise BuildError(Problem(str(path), message, "quantise the model, or cut it into parts"))
    model = onnx.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        message = "not an ONNX file, or a damaged one"
        raise BuildError(Problem(str(path), message, "export or download it again")) from error
    if model.ir_version < _OLDEST_IR or not model.graph.node:
        reason = f"IR version {model.ir_version}" if model.graph.node else "no graph in it"
        raise BuildError(Problem(str(path), f"not an ONNX model that can be built: {reason}", "export it again"))
    model.ir_version = max(model.ir_version, _INITIALISERS_ALONE)
    return model


def _check_size(model: onnx.ModelProto, path: Path) -> None:
    """Refuses weights that no module can hold before any of them is read."""
    known = (it for it in model.graph.initializer if dtype_of(it.data_type))
    nbytes = sum(TensorType(dtype_of(it.data_type), tuple(it.dims)).nbytes for it in known)
    if nbytes > _LARGEST:
        message = f"has {nbytes:,} bytes of weights; a wasm32 module has 4 GiB of memory, of which weights can be 2 GiB"
        raise BuildError(Problem(str(path), message, "quantise the model, or cut it into parts"))


def _take_initialisers(model: onnx.ModelProto, path: Path) -> dict[str, np.ndarray]:
    """Before IR version 4 every initialiser was an input too; a module's inputs are only what has no value."""
    graph = model.graph
    if graph.sparse_initializer:
        message = "sparse initialisers cannot be compiled"
        raise BuildError(Problem(str(path), message, "export the model with dense weights"))
    values: dict[str, np.ndarray] = {}
    for tensor in graph.initializer:
        if tensor.name in values or not tensor.name:
            message = f'not a valid ONNX model: initialiser "{tensor.name}" is there twice or has no name'
            raise BuildError(Problem(str(path), message, "export it again"))
        is_external = tensor.data_location == onnx.TensorProto.EXTERNAL
        try:
            values[tensor.name] = array_of(tensor, path.parent)
        except (checker.ValidationError, OSError, ValueError, TypeError, KeyError) as error:
            if is_external:
                raise _external(path, error) from error
            message = f'not a valid ONNX model: initialiser "{tensor.name}": {in_short(error)}'
            raise BuildError(Problem(str(path), message, "export it again")) from error
        tensor.ClearField("raw_data")
    del graph.initializer[:]
    inputs = [value for value in graph.input if value.name not in values]
    del graph.input[:]
    graph.input.extend(inputs)
    return values


def array_of(tensor: onnx.TensorProto, folder: Path) -> np.ndarray:
    """A tensor's values, from its file if they are in one."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        external_data_helper.load_external_data_for_tensor(tensor, str(folder))
        tensor.data_location = onnx.TensorProto.DEFAULT
    array: np.ndarray = numpy_helper.to_array(tensor)
    return array


def _with_inputs(model: onnx.ModelProto, values: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The model with its initialisers declared as inputs, for the checker."""
    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    for name, value in values.items():
        dtype = onnx.TensorProto.STRING if value.dtype == object else onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        whole.graph.input.append(onnx.helper.make_tensor_value_info(name, dtype, value.shape))
    return whole


def _external(path: Path, error: Exception) -> BuildError:
    hint = "external data must be files in the model's own folder"
    return BuildError(Problem(str(path), f"external data: {in_short(error)}", hint))
