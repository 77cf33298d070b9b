"""Models of float32 made models of bytes, as users do it: by onnxruntime's own tools, with what they do unasked."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import version_converter

_OPSET = 13
"""The first in which QuantizeLinear has an axis; onnxruntime's tools ask for it."""

_CALIBRATED_ON = 4
_SEED = 1


def static(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model with QuantizeLinear and DequantizeLinear around its operators, their ranges found by running it.

    Args:
        model: Of an old opset, with inputs of static shape.
    """
    from onnxruntime.quantization import quantize_static

    model.ir_version = 8
    newer = version_converter.convert_version(model, _OPSET)
    return _made(newer, lambda source, target: quantize_static(source, target, _Calibration(newer)))


def dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """A model whose products with weights are of bytes: what they read is quantised in each run."""
    from onnxruntime.quantization import quantize_dynamic

    return _made(model, quantize_dynamic)


def _made(model: onnx.ModelProto, quantise: Callable[[Path, Path], None]) -> onnx.ModelProto:
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="onnx-wasm-bench-") as folder:
        whole, prepared, quantised = (Path(folder, f"{it}.onnx") for it in ("whole", "prepared", "quantised"))
        onnx.save(model, whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantise(prepared, quantised)
        return onnx.load(quantised)


class _Calibration:
    """Inputs that a model's ranges are found on: what onnxruntime calls a CalibrationDataReader."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._samples = _samples(model)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next of them."""
        return next(self._samples, None)


def _samples(model: onnx.ModelProto) -> Iterator[dict[str, np.ndarray]]:
    random = np.random.default_rng(_SEED)
    shapes = {it.name: [each.dim_value for each in it.type.tensor_type.shape.dim] for it in model.graph.input}
    for _ in range(_CALIBRATED_ON):
        yield {name: random.standard_normal(shape).astype("float32") for name, shape in shapes.items()}
