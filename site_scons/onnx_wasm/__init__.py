"""Rules for SCons that turn a trained ONNX model into a WebAssembly module."""

