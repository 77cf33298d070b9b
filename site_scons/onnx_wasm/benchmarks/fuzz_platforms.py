"""``./sconsw fuzz-platforms``: mutated pictures and tensors into modules of every platform, and what comes of them.

A module may refuse what it is given, by a code of ``status.rs``; it may never trap, and never need more memory than the
largest picture takes that it accepts. For the web the glue is called, in Node.js: what it refuses it throws as an
Error, and the instance has to be as good as before.
"""

from __future__ import annotations

import argparse
import binascii
import collections
import io
import json
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from onnx_wasm import TOOLPATH
from onnx_wasm.benchmarks import measured
from onnx_wasm.benchmarks.table import Row, publish
from onnx_wasm.errors import BuildError
from onnx_wasm.hosts.result import Result
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.hosts.wasi import WasiHost
from onnx_wasm.status import statuses

TARGET = "fuzz-platforms"
CASES = 20_000
DIGITS = Path("models", "mnist", "digits")
SHAPE = (1, 1, 28, 28)

_SCRIPT = Path(__file__).with_suffix(".mjs")
_MODEL = Path("models", "mnist", "mnist.onnx")
_FOLDER = Path("build", "fuzz")
_PICTURE = "input_img"
_TENSOR = "tensor"
_MEMORY_STEP = 1 << 20
_PATIENCE = 60.0

_TENSORS = f"""
schema-version = 1

[model]
name = "tensors"
path = "mnist.onnx"

[[input]]
name = "Input3"
argument = "{_TENSOR}"

[[output]]
name = "Plus214_Output_0"
return = "argmax"

[compile]
platforms = ["teaclave", "wasi"]
"""
"""The manifest of the sample model for tensors in files: its own reads pictures."""


@dataclass(frozen=True)
class Found:
    """What came of the cases on one platform.

    Args:
        platform: Its name.
        results: How many cases ended how: ``accepted``, or why not.
        failures: Traps, crashes and wrong answers, in words.
        memory: Bytes that a module needed at most, or was given and found enough.
        bound: Bytes that the largest accepted picture takes.
        seconds: How long it took.
    """

    platform: str
    results: dict[str, int]
    failures: list[str]
    memory: int
    bound: int
    seconds: float


class Host(Protocol):
    """Runs a module that reads files."""

    def run(
        self, arguments: dict[str, str], *, timeout: float | None = None, memory_limit: int | None = None
    ) -> Result: ...


def mutated_picture(choose: random.Random, digits: Sequence[bytes]) -> bytes:
    """A digit's file, with bytes changed, cut or repeated, or with another size in its head."""
    data = bytearray(choose.choice(digits))
    if choose.random() < 0.1:
        _resize(data, choose)
    for _ in range(choose.randint(0 if choose.random() < 0.1 else 1, 6)):
        at = choose.randrange(len(data) or 1)
        match choose.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = data[at : at + 20]
            case _ if data:
                data[at % len(data)] = choose.choice([0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)])
    return bytes(data)


def _resize(data: bytearray, choose: random.Random) -> None:
    """Has a PNG's or JPEG's head tell other sizes, up to far too large ones; the check sum is that of them."""
    width, height = (choose.choice([0, 1, 27, 29, 500, 3999, 4000, 4001, 65_535]) for _ in range(2))
    if data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", binascii.crc32(data[12:29]))
        return
    for marker in (b"\xff\xc0\x00\x0b", b"\xff\xc0\x00\x11", b"\xff\xc2\x00\x0b", b"\xff\xc2\x00\x11"):
        at = data.find(marker)
        if at >= 0:
            data[at + 5 : at + 9] = struct.pack(">HH", height, width)


def mutated_tensor(choose: random.Random) -> bytes:
    """A tensor's npy file, with values of every kind, of another shape, dtype or length, or with bytes changed."""
    shape = choose.choice([SHAPE, SHAPE, SHAPE, (28, 28), (1, 1, 28, 29), (0,), ()])
    dtype = choose.choice(["<f4", "<f4", "<f4", "<f8", ">f4", "<i4", "|b1"])
    bits = np.frombuffer(choose.randbytes(8 * max(1, int(np.prod(shape)))), np.uint8)
    file = io.BytesIO()
    with np.errstate(all="ignore"):
        values = np.resize(bits.view(dtype if dtype != "|b1" else np.uint8), shape).astype(dtype)
    if choose.random() < 0.2:
        values = np.full_like(values, choose.choice([np.nan, np.inf, -np.inf, 0]) if values.dtype.kind == "f" else 0)
    np.save(file, values)
    data = bytearray(file.getvalue())
    for _ in range(choose.choice([0, 0, 0, 1, 3])):
        at = choose.choice([choose.randrange(140), choose.randrange(len(data) or 1)]) % (len(data) or 1)
        match choose.randrange(4):
            case 0:
                del data[at:]
            case 1:
                data += bytes(choose.randrange(20))
            case _ if data:
                data[at % len(data)] = choose.randrange(256)
    return bytes(data)


HOSTS: dict[str, Callable[[bytes, str], Host]] = {"teaclave": TeaclaveHost, "wasi": WasiHost}
"""What runs modules that read files, by platform."""


def loaded(platform: str, path: Path) -> Host:
    """A module in its host."""
    return HOSTS[platform](path.read_bytes(), str(path))


@dataclass(frozen=True)
class Subject:
    """A module that reads one file.

    Args:
        host: Runs it.
        argument: The argument that names the file.
        mutated: Makes the file's bytes.
    """

    host: Host
    argument: str
    mutated: Callable[[random.Random], bytes]


def fuzz(platform: str, subjects: Sequence[Subject], bound: int, cases: int, seed: int) -> Found:
    """Feeds modules that read files.

    Args:
        platform: Their platform's name.
        subjects: The modules, which take turns. What they return is a digit or a status.
        bound: Bytes of memory that they have to do with.
        cases: How many.
        seed: Another gives others.
    """
    choose = random.Random(seed)
    started = time.monotonic()
    results: collections.Counter[str] = collections.Counter()
    failures: list[str] = []
    names = {it.code: it.name for it in statuses().values() if it.name != "OutOfMemory"}
    names |= dict.fromkeys(range(10), "accepted")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "file")
        for case in range(cases):
            subject = subjects[case % len(subjects)]
            file.write_bytes(subject.mutated(choose))
            result = subject.host.run({subject.argument: str(file)}, timeout=_PATIENCE, memory_limit=bound)
            if result.value not in names:
                failures.append(f"seed {seed}, case {case}: {result}")
            results[names.get(result.value or 0, "failed")] += 1
    return Found(platform, dict(results), failures, bound, bound, time.monotonic() - started)


def largest_memory(pictures: Host, file: Path) -> int:
    """Bytes of memory that the largest accepted picture takes, of the kind that takes most; to a megabyte."""
    needed = 0
    for data in largest_pictures():
        file.write_bytes(data)
        low, high = 0, 1 << 31
        while high - low > _MEMORY_STEP:
            middle = (low + high) // 2
            enough = _accepts(pictures, file, middle)
            low, high = (low, middle) if enough else (middle, high)
            if high <= needed:
                break
        needed = max(needed, high)
    return needed


def largest_pictures() -> Iterator[bytes]:
    """Pictures of 16 megapixels, the sample model's limit: a PNG in colours of 16 bits, and a progressive JPEG."""
    from PIL import Image

    side = 4000
    yield _png(side, 16, 6)
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "JPEG", quality=5, progressive=True, subsampling=0)
    yield file.getvalue()


def _png(side: int, depth: int, color: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, depth, color, 0, 0, 0)
    channels = {0: 1, 2: 3, 6: 4}[color]
    rows = zlib.compress(bytes((side * channels * depth // 8 + 1) * side), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _accepts(pictures: Host, file: Path, memory: int) -> bool:
    try:
        value = pictures.run({_PICTURE: str(file)}, timeout=_PATIENCE, memory_limit=memory).value
    except BuildError:
        return False  # too little to start
    return value is not None and value >= 0


def fuzz_web(package: Path, cases: int, seed: int) -> Found:
    """Feeds a package for JavaScript, in Node.js.

    Raises:
        SystemExit: There is no Node.js, or it ended.
    """
    node = shutil.which("node")
    if node is None:
        sys.exit(f"{TARGET}: there is no node here: ./sconsw setup dev brings it")
    command = [node, str(_SCRIPT), str(package.absolute()), str(cases), str(seed)]
    started = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{TARGET}: node ended with {done.returncode}:\n{done.stderr}")
    told = json.loads(done.stdout)
    return Found("web", told["results"], told["failures"], told["memory"], told["bound"], time.monotonic() - started)


def build_tensors(folder: Path, onnx: Path) -> Callable[[str], Path]:
    """Builds the sample model for tensors in files.

    Args:
        folder: Where; what is there is brought up to date.
        onnx: The sample model.

    Returns:
        From a platform's name to the module.

    Raises:
        SystemExit: It cannot be built.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(onnx, folder / "mnist.onnx")
    (folder / "tensors.toml").write_text(_TENSORS)
    (folder / "SConstruct").write_text(
        'SetOption("hash_format", "sha256")\n'
        f'env = Environment(tools=["onnx_to_wasm"], toolpath={TOOLPATH!r})\n'
        'env.WasmModel("tensors.toml")\n'
    )
    command = [sys.executable, "-P", "-m", "SCons", "-Q", "-s", "all"]
    environ = measured.environment()
    if subprocess.run(command, cwd=folder, env=environ, check=False).returncode:
        sys.exit(f"{TARGET}: the model for tensors cannot be built")
    return lambda platform: folder / f"build/{platform}/tensors/tensors.wasm"


def rows(found: Found) -> list[Row]:
    """What a platform's cases have to keep to."""
    cases = sum(found.results.values())
    return [
        Row(f"{found.platform}: traps and wrong answers in {cases:,} cases", len(found.failures), "", 0),
        Row(f"{found.platform}: memory", found.memory / 1e6, "MB", found.bound / 1e6),
    ]


def main() -> None:
    """Feeds what is built and ends the process: 0, or 1 if a module did what it must not."""
    parser = argparse.ArgumentParser(TARGET, description=__doc__)
    parser.add_argument("--cases", type=int, default=CASES, help="for each platform")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    digits = [path.read_bytes() for path in sorted(DIGITS.glob("*.[jp][pn]g"))]
    tensors = build_tensors(_FOLDER, _MODEL)
    found = []
    for name in HOSTS:
        pictures = loaded(name, Path("build", name, "mnist", "mnist.wasm"))
        with tempfile.TemporaryDirectory() as folder:
            bound = largest_memory(pictures, Path(folder, "file"))
        subjects = [
            Subject(pictures, _PICTURE, lambda choose: mutated_picture(choose, digits)),
            Subject(loaded(name, tensors(name)), _TENSOR, mutated_tensor),
        ]
        found.append(fuzz(name, subjects, bound, options.cases, options.seed))
    found.append(fuzz_web(Path("build", "web", "mnist", "mnist.web"), options.cases, options.seed))
    for it in found:
        counted = ", ".join(f"{name} {count:,}" for name, count in sorted(it.results.items(), key=lambda one: -one[1]))
        sys.stdout.write(f"{it.platform}, {it.seconds:.0f} s: {counted}\n")
        sys.stdout.writelines(f"    {failure}\n" for failure in it.failures[:20])
    details = {"platforms": [vars(it) for it in found]}
    sys.exit(0 if publish(TARGET, [row for it in found for row in rows(it)], details=details) else 1)


if __name__ == "__main__":
    main()
