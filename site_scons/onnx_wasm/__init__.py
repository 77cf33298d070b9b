"""Rules for SCons that turn a trained ONNX model into a WebAssembly module."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"

TOOLPATH = [str(folder / "site_tools") for folder in (Path(__file__).parent, Path(__file__).parents[1])]
"""Where the SCons tool is, in an installed package and in a checkout, for another repository's SConstruct:
``Environment(tools=["onnx_to_wasm"], toolpath=onnx_wasm.TOOLPATH)``."""

WRAPPER = next(
    (
        folder
        for folder in (Path(__file__).parent / "wrapper", Path(__file__).parents[2] / "wrapper")
        if folder.is_dir()
    ),
    Path(__file__).parent / "wrapper",
)
"""The Rust crate around a model's library: inside an installed package, beside ``site_scons`` in a checkout."""
