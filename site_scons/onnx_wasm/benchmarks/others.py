"""What else models could be run by on this machine, for the record: on its own processor, and TensorFlow.js."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from onnx_wasm.benchmarks import npm
from onnx_wasm.benchmarks.contests import CONTESTS, WORKSPACE, Contestant

_SCRIPT = Path(__file__).with_name("tfjs.mjs")
_SECONDS = 2.0
_FEWEST, _MOST = 3, 500


def times(it: Contestant) -> Mapping[str, float]:
    """Milliseconds of a run, by what runs it: on one thread of the machine's own processor, all it has in use.

    Args:
        it: The model.
    """
    found = {"native onnxruntime": _median(_onnxruntime(it))}
    if CONTESTS[it.name].is_architecture:  # of the others TVM's importer takes hardly one as it is
        found["TVM's own kernels, native"] = _median(_tvm(it))
    return found


def _onnxruntime(it: Contestant) -> Callable[[], object]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(it.onnx), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, dict(it.sample.tensors))


def _tvm(it: Contestant) -> Callable[[], object]:
    """As TVM compiles a model for which nobody has written schedules."""
    os.environ["TVM_NUM_THREADS"] = "1"
    import tvm
    from tvm import relax
    from tvm.relax.frontend import onnx as importer

    module = importer.from_onnx(onnx.load(it.onnx))
    built = tvm.compile(module, tvm.target.Target("llvm"))
    machine = relax.VirtualMachine(built, tvm.cpu())
    given = [tvm.runtime.tensor(tensor) for tensor in it.sample.tensors.values()]
    return lambda: machine["main"](*given)


def _median(run: Callable[[], object]) -> float:
    run()
    took: list[float] = []
    while len(took) < _FEWEST or (sum(took) < _SECONDS and len(took) < _MOST):
        start = time.perf_counter()
        run()
        took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def tfjs_ratio(it: Contestant) -> float:
    """The time of tfjs-backend-wasm over that of our module, in one process of Node.js in turn.

    Args:
        it: The model mnist, whose graph the script has.
    """
    folder = WORKSPACE / it.name
    (folder / "tfjs").write_bytes(b"".join(tensor.astype("float32").tobytes() for tensor in _weights(it.onnx)))
    packages = [npm.unpacked(package).absolute() for package in (npm.TFJS_CORE, npm.TFJS_BACKEND_WASM)]
    words = [it.package.absolute(), folder.absolute(), *packages]
    done = subprocess.run(["node", str(_SCRIPT), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{it.name}: TensorFlow.js ended with {done.returncode}:\n{done.stderr}")
    return float(done.stdout)


def _weights(model: Path) -> list[np.ndarray]:
    """As TensorFlow.js wants them, channels last, in the order in which its script reads them."""
    its = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(model).graph.initializer}
    first, second = (its[name].transpose(2, 3, 1, 0) for name in ("Parameter5", "Parameter87"))
    matrix = its["Parameter193"].transpose(1, 2, 0, 3)
    return [first, its["Parameter6"], second, its["Parameter88"], matrix, its["Parameter194"]]
