"""From an ONNX file to one wasm object: the only part of the package that imports TVM. ``pipeline`` is its table of contents."""
