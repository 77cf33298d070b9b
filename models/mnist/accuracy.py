"""Prints the share of MNIST's 10,000 test images that the model reads right; exits 1 if it is under 99 %.

python models/mnist/accuracy.py
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
from mnist_data import DataError, load
from network import INPUT, INPUT_SHAPE, OUTPUT
from numpy.typing import NDArray

LEAST = 0.99

Predictor = Callable[[NDArray[np.uint8]], int]
"""Reads one image, uint8 [28, 28] from 0 (black) to 255 (white), the digit white, and returns the digit.

How the pixels are brought to the model is its own affair.
"""


def onnx_predictor(model: Path) -> Predictor:
    """Reads digits with onnxruntime.

    Args:
        model: An ONNX file with the inputs and outputs that `network` names.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the model is too small to share out
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def predict(pixels: NDArray[np.uint8]) -> int:
        image = (pixels.astype(np.float32) / 255).reshape(INPUT_SHAPE)
        (scores,) = session.run([OUTPUT], {INPUT: image})
        return int(np.argmax(scores))

    return predict


def count_right(predict: Predictor, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> int:
    """Counts the images that a predictor reads right: an ONNX model's or a finished module's.

    Args:
        predict: What reads one image.
        pixels: uint8 [n, 28, 28].
        labels: uint8 [n], the digit each image shows.
    """
    return sum(predict(image) == label for image, label in zip(pixels, labels, strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the model on MNIST's test images.")
    parser.add_argument(
        "model", type=Path, nargs="?", default=Path(__file__).with_name("mnist.onnx"), help="default: %(default)s"
    )
    model: Path = parser.parse_args().model

    try:
        images = load("t10k")
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    right, total = count_right(onnx_predictor(model), images.pixels, images.labels), len(images.labels)
    sys.stdout.write(f"{right} of {total} right: {right / total:.2%} (at least {LEAST:.0%})\n")
    return 0 if right >= LEAST * total else 1


if __name__ == "__main__":
    sys.exit(main())
