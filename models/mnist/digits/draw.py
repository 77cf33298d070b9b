"""Draws the ten sample digits beside this file, each as PNG and as JPEG.

    python models/mnist/digits/draw.py

They are pen strokes of our own: no font's and no data set's. A stroke is a smooth curve through a few points; a
pixel is as bright as the pen covers it. Most are 28 x 28 and gray, which is what the model reads; 4 and 8 are larger,
and 8 is coloured and its JPEG progressive, so that resizing and conversion have something to do.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

GRID = 28
"""Strokes are drawn on a square of this many units, x to the right and y down."""

PEN = 2.7
"""Width of the pen in units."""


@dataclass(frozen=True)
class Drawing:
    """How one digit is drawn.

    Args:
        strokes: The points ``x,y`` that each stroke passes through, in units of the grid; ``;`` lifts the pen.
        size: Width and height in pixels.
        colour: Of the pen, red, green and blue from 0 to 255; none for a white pen in a gray image.
    """

    strokes: str
    size: int = GRID
    colour: tuple[int, int, int] | None = None


DRAWINGS = (
    Drawing("15,5 10,7.5 7.8,14 10,21 14.5,23 18.6,20.5 20.2,14 18.5,7.5 15,5"),
    Drawing("15.6,4.5 14.8,11 13.6,17 12.8,23.5"),
    Drawing("8.5,8.8 12,5.2 17,6 18.5,10.5 15,16 8.5,22 14,21.6 20.8,21.8"),
    Drawing("9,6.8 13.5,5 18,7.5 16.8,11.8 12.5,13.4; 12.5,13.4 17.6,14.6 19,18.5 15.5,22.4 8.5,21.6"),
    Drawing("10,5 8.6,10 8,14.4; 8,14.4 13.5,14.8 20,14; 18.6,5.5 17.8,14 16.8,23.5", size=56),
    Drawing("19.6,5.4 15.5,5.5 10.6,5.9; 10.6,5.9 9.9,9 9.4,12.4; 9.4,12.4 13.5,11.2 18,13 18.8,17.8 15,22.4 8.2,21.8"),
    Drawing("17.5,4.6 12.6,9 9.4,15.5 9.8,20.6 13.4,23 17.6,21 18,16.8 14.6,14.6 9.8,17.4"),
    Drawing("7.6,6.6 13,6.2 20,5.8; 20,5.8 16.6,11.5 14,17 12.4,23.4"),
    Drawing(
        "18.6,7 14,4.8 10,7.4 12,12 16.6,15.4 18,19.6 14,23 9.8,20 11.6,15.6 16.6,11.6 18.6,7",
        size=70,
        colour=(255, 250, 225),
    ),
    Drawing("18.4,8 14.6,5 10,7.4 9.6,11.6 13.4,13.8 17.4,11.6 18.4,8; 18.4,8 17.8,15 16.6,23.4"),
)
"""The digits from 0 to 9."""


def smooth(stroke: str, steps: int = 24) -> NDArray[np.float64]:
    """Joins points by a Catmull-Rom spline (Catmull and Rom 1974), a curve that passes through them all.

    Args:
        stroke: At least two points ``x,y``.
        steps: Straight pieces from each point to the next.

    Returns:
        float64 [m, 2], points along the curve.
    """
    through = [tuple(map(float, point.split(","))) for point in stroke.split()]
    points = np.array([through[0], *through, through[-1]])
    before, start, end, after = (points[i : len(points) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, steps + 1)[None, :, None]
    curve: NDArray[np.float64] = start + 0.5 * (
        (end - before) * t
        + (2 * before - 5 * start + 4 * end - after) * t**2
        + (3 * start - before - 3 * end + after) * t**3
    )
    return curve.reshape(-1, 2)


def coverage(strokes: str, size: int) -> NDArray[np.float64]:
    """How much of each pixel the pen covers: 0 to 1, by the distance from the pixel's centre to the nearest stroke.

    Args:
        strokes: As in `Drawing`.
        size: Width and height in pixels.

    Returns:
        float64 [size, size].
    """
    scale = size / GRID
    centres = np.stack(np.meshgrid(np.arange(size), np.arange(size)), -1).reshape(-1, 1, 2) + 0.5
    distance = np.full(size * size, np.inf)
    for stroke in strokes.split(";"):
        curve = smooth(stroke) * scale
        start, along = curve[:-1], np.diff(curve, axis=0)
        length = np.maximum((along**2).sum(-1), 1e-12)  # where two pieces of the spline meet, a length is 0
        t = np.clip(((centres - start) * along).sum(-1) / length, 0, 1)
        nearest = start + t[..., None] * along
        distance = np.minimum(distance, np.sqrt(((centres - nearest) ** 2).sum(-1)).min(-1))
    covered: NDArray[np.float64] = np.clip(PEN * scale / 2 + 0.5 - distance, 0, 1)
    return covered.reshape(size, size)


def draw(drawing: Drawing) -> Image.Image:
    """Draws a digit: mode L, or RGB if it has a colour."""
    covered = coverage(drawing.strokes, drawing.size)
    if drawing.colour is None:
        return Image.fromarray(np.rint(covered * 255).astype(np.uint8))
    return Image.fromarray(np.rint(covered[..., None] * drawing.colour).astype(np.uint8))


def main() -> int:
    folder = Path(__file__).parent
    for digit, drawing in enumerate(DRAWINGS):
        image = draw(drawing)
        image.save(folder / f"{digit}.png", optimize=True)
        image.save(folder / f"{digit}.jpg", quality=88, optimize=True, progressive=drawing.colour is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
