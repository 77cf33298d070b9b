"""Trains the digit recogniser and writes it as ONNX.

Run it in an environment of its own, because nothing else here needs torch (CPU is enough):

    python3 -m venv build/train
    build/train/bin/pip install torch==2.13.0 numpy==2.4.6 onnx==1.23.2
    build/train/bin/python models/mnist/train.py

It is repeatable: seeded, on one thread, with deterministic algorithms, for a fixed number of epochs. The same
torch on the same kind of processor gives the same bytes. Another torch, or a processor with other vector instructions,
adds numbers up in another order: its parameters differ in the last digits at first and, thousands of steps later,
visibly. Expect another file then, of about the same accuracy.

The test images play no part in training, neither in choosing when to stop: ``accuracy.py`` is the first to see them.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import time
from pathlib import Path

import torch
from mnist_data import DataError, load
from network import PARAMETERS, onnx_model
from torch import Tensor
from torch.nn import functional

SEED = 8
EPOCHS = 16
BATCH = 96
PEAK_LEARNING_RATE = 6e-3
WEIGHT_DECAY = 1e-4

# How far an image is moved while training: someone else's pen, a crooked sheet, a digit off the middle.
TURN = math.radians(10)
ZOOM = 0.10
SHEAR = 0.15
SHIFT = 1.8 / 14
"""In half widths of the image, the unit of affine_grid: 1.8 pixels."""


def initial_parameters() -> dict[str, Tensor]:
    """Random filters scaled for what feeds them (He et al. 2015, https://arxiv.org/abs/1502.01852), biases of zero."""
    inputs_of = {"Parameter5": 25, "Parameter87": 200, "Parameter193": 256}
    return {
        name: (
            torch.randn(shape) * math.sqrt(2 / inputs_of[name]) if name in inputs_of else torch.zeros(shape)
        ).requires_grad_()
        for name, shape in PARAMETERS.items()
    }


def scores(parameters: dict[str, Tensor], images: Tensor) -> Tensor:
    """What ``network.onnx_model`` computes, for a batch.

    Args:
        parameters: By their names in the ONNX graph.
        images: float32 [n, 1, 28, 28] from 0 to 1.

    Returns:
        float32 [n, 10].
    """
    found = functional.conv2d(images, parameters["Parameter5"], padding=2) + parameters["Parameter6"]
    found = functional.max_pool2d(found.relu(), 2)
    found = functional.conv2d(found, parameters["Parameter87"], padding=2) + parameters["Parameter88"]
    found = functional.max_pool2d(found.relu(), 3)
    return found.flatten(1) @ parameters["Parameter193"].reshape(256, 10) + parameters["Parameter194"]


def moved(images: Tensor) -> Tensor:
    """Turns, zooms, shears and shifts each image by random amounts.

    Args:
        images: float32 [n, 1, 28, 28].

    Returns:
        The same shape; what comes in from outside is black.
    """
    turn, zoom_x, zoom_y, shear, shift_x, shift_y = torch.rand(6, len(images)) * 2 - 1
    angle = turn * TURN
    zoom_x, zoom_y = 1 + zoom_x * ZOOM, 1 + zoom_y * ZOOM
    rows = (
        torch.stack([zoom_x * angle.cos(), shear * SHEAR - angle.sin(), shift_x * SHIFT], 1),
        torch.stack([angle.sin(), zoom_y * angle.cos(), shift_y * SHIFT], 1),
    )
    grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def train(pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Trains the network from scratch.

    Args:
        pixels: uint8 [n, 28, 28].
        labels: int64 [n].

    Returns:
        The trained parameters.
    """
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)

    parameters = initial_parameters()
    optimizer = torch.optim.AdamW(parameters.values(), weight_decay=WEIGHT_DECAY)
    steps = math.ceil(len(pixels) / BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_LEARNING_RATE, epochs=EPOCHS, steps_per_epoch=steps)

    for epoch in range(1, EPOCHS + 1):
        started, total = time.monotonic(), 0.0
        for batch in torch.randperm(len(pixels)).split(BATCH):
            images = moved(pixels[batch].unsqueeze(1) / 255)
            loss = functional.cross_entropy(scores(parameters, images), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        seconds = time.monotonic() - started
        sys.stdout.write(f"epoch {epoch:2} of {EPOCHS}  loss {total / len(pixels):.4f}  {seconds:.1f} s\n")
        sys.stdout.flush()
    return parameters


def main() -> int:
    parser = argparse.ArgumentParser(description="Train the digit recogniser and write it as ONNX.")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).with_name("mnist.onnx"), help="default: %(default)s"
    )
    output: Path = parser.parse_args().output

    try:
        images = load("train")
    except DataError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    trained = train(torch.tensor(images.pixels), torch.tensor(images.labels).long())
    content = onnx_model({name: tensor.detach().numpy() for name, tensor in trained.items()}).SerializeToString()

    unfinished = output.with_name(output.name + ".partial")
    unfinished.write_bytes(content)
    unfinished.replace(output)
    sys.stdout.write(f"{output.name}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
