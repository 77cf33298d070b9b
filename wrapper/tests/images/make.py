"""Draws the images that the wrapper's tests read, and beside each what its pixels are.

``NAME.rgb`` and ``NAME.gray`` hold the pixels as bytes, row by row: computed from the drawing itself for what Pillow
cannot write (interlaced and 16-bit PNG, written here), by Pillow's own ``convert`` for the rest.
Run ``python make.py``; it needs NumPy and Pillow.
"""
# ruff: noqa: INP001

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 20, 13
HERE = Path(__file__).parent
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def main() -> None:
    """Writes every image."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    drawing = np.stack([x * 12 + 5, y * 19 + 3, 250 - x * 6 - y * 9], axis=2).astype(np.uint8)
    color = Image.fromarray(drawing)
    gray = color.convert("L")
    alpha = Image.fromarray((x * 10 + y).astype(np.uint8))
    save("gray.jpg", gray, quality=90)
    save("color.jpg", color, quality=90)
    save("progressive.jpg", color, quality=90, progressive=True)
    save("full.jpg", color, quality=90, subsampling=0)
    save("cmyk.jpg", color.convert("CMYK"), quality=90)
    save("gray.png", gray)
    save("bits.png", gray.convert("1"))
    save("gray-alpha.png", merge("LA", gray, alpha))
    save("color.png", color)
    save("color-alpha.png", merge("RGBA", *color.split(), alpha))
    save("palette.png", color.quantize(13))
    transparent = color.quantize(13)
    save("palette-alpha.png", transparent, transparency=2)
    wide = drawing.astype(np.uint16) * 256 + 77
    write_png("color-16.png", wide[:, :, :], 2, drawing)
    write_png("gray-16.png", np.asarray(gray, np.uint16)[:, :, None] * 256 + 200, 0, np.asarray(gray.convert("RGB")))
    write_png("interlaced.png", drawing, 2, drawing, interlaced=True)


def merge(mode: str, *bands: Image.Image) -> Image.Image:
    """Joins bands to an image."""
    return Image.merge(mode, bands)


def save(name: str, image: Image.Image, **options: object) -> None:
    """Writes an image with Pillow, and the pixels as Pillow reads them again."""
    image.save(HERE / name, **options)
    with Image.open(HERE / name) as read:
        pixels(name, read)


def pixels(name: str, image: Image.Image) -> None:
    """Writes an image's pixels, alpha left out."""
    rgb = image.convert("RGB")
    (HERE / f"{name}.rgb").write_bytes(rgb.tobytes())
    (HERE / f"{name}.gray").write_bytes(rgb.convert("L").tobytes())


def write_png(
    name: str, samples: np.ndarray, color_type: int, eight_bits: np.ndarray, *, interlaced: bool = False
) -> None:
    """Writes a PNG file without Pillow: samples of shape [height, width, channels], 8 or 16 bits."""
    depth = samples.dtype.itemsize * 8
    rows = b"".join(b"\0" + row.astype(samples.dtype.newbyteorder(">")).tobytes() for row in lines(samples, interlaced))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, int(interlaced))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    (HERE / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    pixels(name, Image.fromarray(eight_bits))


def lines(samples: np.ndarray, interlaced: bool) -> Iterator[np.ndarray]:
    """The rows in the order of the file."""
    if not interlaced:
        yield from samples
        return
    for x, y, columns, rows in ADAM7:
        yield from samples[y::rows, x::columns]


if __name__ == "__main__":
    main()
