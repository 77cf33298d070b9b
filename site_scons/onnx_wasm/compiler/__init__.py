"""From an ONNX file to one wasm object, the only part that imports TVM. ``pipeline`` is its table of contents."""
