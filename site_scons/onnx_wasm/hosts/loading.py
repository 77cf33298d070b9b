"""Loads a module into the host of its platform."""

from __future__ import annotations

from pathlib import Path

from onnx_wasm import wasm
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.hosts.result import Host
from onnx_wasm.hosts.teaclave import TeaclaveHost
from onnx_wasm.hosts.wasi import WasiHost
from onnx_wasm.platforms import PLATFORMS, TEACLAVE, WASI, WEB, Platform


def load(path: Path) -> Host:
    """Loads a module of any platform that has a host.

    Raises:
        BuildError: The file cannot be read, or its platform could not load the module, or has no host.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BuildError(Problem(str(path), f"cannot be read: {error.strerror}")) from error
    platform = recognised(wasm.read(data, str(path))) or TEACLAVE
    if platform is WEB:
        raise BuildError(Problem(str(path), "is a module for web", "JavaScript runs it: Node.js, or a browser"))
    return WasiHost(data, str(path)) if platform is WASI else TeaclaveHost(data, str(path))


def recognised(module: wasm.Module) -> Platform | None:
    """The platform whose exports a module has; None if it has those of none."""
    exported = {export.name for export in module.exports}
    return next((platform for platform in PLATFORMS.values() if exported >= set(platform.exports)), None)
