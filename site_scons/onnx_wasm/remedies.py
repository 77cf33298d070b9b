"""What brings a missing tool on this system: commands to copy, and the packages that sconsw installs itself."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable

RUST_TARGET = "wasm32-unknown-unknown"

CRATES = ("jpeg-decoder", "libm", "png")
"""The crates that the wrapper names in its Cargo.toml."""

APT_PACKAGES = {
    "venv": (f"python3.{sys.version_info.minor}-venv",),
    "rustc": ("rustc", "libstd-rust-dev-wasm32"),
    "cargo": ("cargo",),
    "cc": ("gcc", "libc6-dev"),
    "linker": ("lld",),
    "archiver": ("llvm",),
    "crates": tuple(f"librust-{name}-dev" for name in CRATES),
    "node": ("nodejs",),
    "chromium": ("chromium",),
    "bwrap": ("bubblewrap",),
    "wasm-opt": ("binaryen",),
    "faketime": ("faketime",),
    "nginx": ("nginx",),
}
"""What Debian and Ubuntu call the packages that bring each tool, in the version that goes with the release's rustc."""

_FULL = ("bwrap", "wasm-opt", "faketime")
OPTIONAL = {"build": ("bwrap",), "full": _FULL, "dev": (*_FULL, "node", "chromium", "nginx")}
"""The programs that a build can do without, by profile: for the strategy ``sandbox``, for releases, for tests."""

_CC_COMMANDS = {
    "dnf": "sudo dnf install -y gcc",
    "zypper": "sudo zypper install -y gcc",
    "pacman": "sudo pacman -S --noconfirm gcc",
    "apk": "sudo apk add gcc musl-dev",
    "xcode-select": "xcode-select --install",
}
_RUSTUP_ADD = (f"rustup target add {RUST_TARGET}", "rustup component add llvm-tools")
_RUSTUP_INSTALL = (
    "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs"
    f" | sh -s -- -y --profile minimal --target {RUST_TARGET} --component llvm-tools"
)


def apt_packages(tools: Iterable[str]) -> list[str]:
    """The packages of Debian and Ubuntu that bring these tools of ``Toolchain``."""
    return [package for tool in tools for package in APT_PACKAGES[tool]]


def commands(tools: Iterable[str]) -> tuple[str, ...]:
    """The commands, in order, that bring these tools of ``APT_PACKAGES`` on this system."""
    wanted = list(tools)
    if not wanted:
        return ()
    if shutil.which("apt-get"):
        sudo = "" if os.geteuid() == 0 else "sudo "
        install = f"{sudo}apt-get install -y --no-install-recommends {' '.join(apt_packages(wanted))}"
        return (f"{sudo}apt-get update", install)
    elsewhere: list[str] = []
    if "venv" in wanted:
        elsewhere.append(f"# install the modules venv and ensurepip of {sys.executable}")
    if "cc" in wanted:
        elsewhere.append(_cc_command())
    if set(wanted) - {"venv", "cc"}:
        elsewhere += _RUSTUP_ADD if shutil.which("rustup") else (_RUSTUP_INSTALL,)
    return tuple(elsewhere)


def _cc_command() -> str:
    known = (command for program, command in _CC_COMMANDS.items() if shutil.which(program))
    return next(known, "# install a C compiler that answers to the name cc")
