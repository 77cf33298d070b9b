"""Packages of npm, by exact version and hash: what is measured and checked against, and no build needs."""

from __future__ import annotations

import base64
import hashlib
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError
from onnx_wasm.fetch import archives, packages

FOLDER = Path("build", "bench", "npm")


@dataclass(frozen=True)
class Package:
    """A package as npm's registry has it.

    Args:
        name: Its name.
        version: Its version.
        integrity: The hash of its archive, ``sha512-…`` in base64, as ``npm view NAME@VERSION dist.integrity`` tells.
    """

    name: str
    version: str
    integrity: str


ONNXRUNTIME_WEB = Package(
    "onnxruntime-web",
    "1.30.0",
    "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)
TFJS_CORE = Package(
    "@tensorflow/tfjs-core",
    "4.22.0",
    "sha512-LEkOyzbknKFoWUwfkr59vSB68DMJ4cjwwHgicXN0DUi3a0Vh1Er3JQqCI1Hl86GGZQvY8ezVrtDIvqR1ZFW55A==",
)
TFJS_BACKEND_WASM = Package(
    "@tensorflow/tfjs-backend-wasm",
    "4.22.0",
    "sha512-/IYhReRIp4jg/wYW0OwbbJZG8ON87mbz0PgkiP3CdcACRSvUN0h8rvC0O3YcDtkTQtFWF/tcXq/KlVDyV49wmA==",
)
TYPESCRIPT = Package(
    "typescript",
    "5.9.3",
    "sha512-jl1vZzPDinLr9eUt3J/t7V6FgNEw9QjvBPdysz9KfQDD41fQrC2Y4vKQdiaUpFT4bXlb1RHhLpp8wtm6M5TgSw==",
)


def unpacked(package: Package, folder: Path = FOLDER) -> Path:
    """Fetches a package, unless it is there already, and unpacks it.

    Args:
        package: The package; those that it depends on are not fetched.
        folder: Where packages are kept.

    Returns:
        The folder that has its ``package.json``.

    Raises:
        SystemExit: npm is not there or fails, or what it brought is something else.
    """
    place = folder / f"{package.name}-{package.version}"
    if not place.exists():
        partial = place.with_name(f".{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            archive = packages.download(packages.Package("npm", package.name, package.version), partial, "npm")
            found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if found != package.integrity:
                sys.exit(f"npm brought another {package.name}@{package.version}: {found}")
            archives.unpack(archive, partial)
            archive.unlink()
            partial.replace(place)
        except (BuildError, archives.UnsafeError) as error:
            sys.exit(str(error))
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return place / "package"
