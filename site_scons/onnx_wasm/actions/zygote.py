"""A process that has imported TVM once and runs each action in a child forked from itself.

The strategy starts it with one end of a socket as its standard input and talks in lines of JSON. A request is
``{"id": 7, "module": "onnx_wasm.actions.tvm_ir", "arguments": […]}``; the answer is ``{"id": 7, "status": 0}``, with
what ``os.waitstatus_to_exitcode`` says of the child. The first answer, without a request, says whether it may fork:
``{"threads": 1}``. Of a process with more threads, a child could be left with locks that nobody ever releases. It ends,
and its children with it, when the other end is closed.
"""

from __future__ import annotations

import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

from onnx_wasm.actions.common import FAILED, die_with, importing

_LONGEST = 1 << 16


def main() -> None:
    """Imports the compiler and serves until there is nobody left to serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the children; the strategy then closes the socket
    die_with(int(os.environ["ONNX_WASM_PARENT"]))
    with importing():
        from onnx_wasm.compiler import pipeline  # noqa: F401 - for the children
    with socket.socket(fileno=os.dup(0)) as requests:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        _say(requests, {"threads": len(list(Path("/proc/self/task").iterdir()))})
        _serve(requests)


def _serve(requests: socket.socket) -> None:
    selector = selectors.DefaultSelector()
    selector.register(requests, selectors.EVENT_READ)
    pending = b""
    while True:
        for key, _ in selector.select():
            if key.fileobj is requests:
                received = requests.recv(_LONGEST)
                if not received:
                    return
                *lines, pending = (pending + received).split(b"\n")
                for line in lines:
                    request = json.loads(line)
                    child = _fork(request["module"], request["arguments"])
                    selector.register(os.pidfd_open(child), selectors.EVENT_READ, (request["id"], child))
            else:
                number, child = key.data
                selector.unregister(key.fileobj)
                os.close(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                _say(requests, {"id": number, "status": status})


def _fork(module: str, arguments: list[str]) -> int:
    """Runs an action's module in a child, as ``python -m`` does."""
    parent = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    child = os.fork()
    if child == 0:
        _run(module, arguments, parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    return child


def _run(module: str, arguments: list[str], parent: int) -> NoReturn:
    status = FAILED
    try:
        die_with(parent)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        os.closerange(3, 1 << 10)  # the socket, and what tells of other children
        os.environ["ONNX_WASM_PARENT"] = str(parent)
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else FAILED if end.code else 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _say(requests: socket.socket, answer: dict[str, int]) -> None:
    requests.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    main()
