"""Rules for SCons that turn a trained ONNX model into a WebAssembly module."""

__version__ = "0.1.0"
