# An image in which onnx-wasm is set up, and its sample model built:
#
#   docker build -t onnx-wasm .
#   docker run --rm -v "$PWD/models/iris:/onnx-wasm/models/iris" -v "$PWD/build:/onnx-wasm/build" onnx-wasm iris.wasm
#
# Its only step is the script that .ci/fresh runs in a fresh Debian, which installs from the same lock files.
FROM debian:12-slim

COPY . /onnx-wasm
RUN /onnx-wasm/.ci/two-commands

WORKDIR /onnx-wasm
ENTRYPOINT ["/onnx-wasm/sconsw"]
