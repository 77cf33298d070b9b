"""The value of a Constant, whichever of its attributes holds it."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_wasm.compiler.frontend.refusal import Refusal


def constant_value(node: onnx.NodeProto) -> np.ndarray:
    """Reads a Constant.

    Args:
        node: The node.

    Raises:
        Refusal: Its value is text, sparse or not there.
    """
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                array: np.ndarray = numpy_helper.to_array(attribute.t)
                if array.dtype == object:
                    break
                return array
            case "value_float":
                return np.asarray(attribute.f, np.float32)
            case "value_floats":
                return np.asarray(attribute.floats, np.float32)
            case "value_int":
                return np.asarray(attribute.i, np.int64)
            case "value_ints":
                return np.asarray(attribute.ints, np.int64)
            case "value_string" | "value_strings":
                break
            case "sparse_value":
                raise Refusal("is sparse; only dense tensors can be compiled", "export the model with dense weights")
    else:
        raise Refusal("has no value", "export the model again")
    raise Refusal("is text; a module computes tensors of numbers", "leave this part to whoever calls the module")
