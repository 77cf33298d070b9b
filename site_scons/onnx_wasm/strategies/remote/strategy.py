"""The strategy ``remote``: actions run on a server's workers.

A worker has the toolchain already, in the image that it runs: the same as this machine, at the same paths but for
Python, whose path there the workspace file tells. What goes over the wire are the files that an action declares.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc

from onnx_wasm.errors import Problem
from onnx_wasm.strategies.action import Action, Strategy
from onnx_wasm.strategies.cache import action_result
from onnx_wasm.strategies.cache.digest import Digest, of_bytes
from onnx_wasm.strategies.cache.errors import DamagedError, UnavailableError
from onnx_wasm.strategies.cache.outputs import place, remove_others
from onnx_wasm.strategies.remote.blobs import Blobs, Source, as_message
from onnx_wasm.strategies.remote.execution import Executions, InterruptedBuildError
from onnx_wasm.strategies.remote.server import AbsentError, Server
from onnx_wasm.strategies.remote.tree import Digests, tree
from onnx_wasm.workspace_file import Remote

FAILED = 2
_LONGEST_LOG = 10_000_000


class Farm:
    """Has a server run actions.

    Args:
        server: The server.
        said: What is said of it and its machines.
        here: Runs what cannot run there: actions that reach out of the build. It also runs everything else once the
            server has failed, if ``fallback`` says so.
        on_hit: Called when a result was there already.
        tell: Takes the lines that users are to see.
    """

    def __init__(
        self,
        server: Server,
        said: Remote,
        here: Strategy,
        on_hit: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._server, self._said, self._here, self._on_hit, self._tell = server, said, here, on_hit, tell
        self._fallback = said.fallback == "local"
        self._blobs = Blobs(server)
        self._executions = Executions(server, said.timeout)
        self._results = reapi_grpc.ActionCacheStub(server.channel)
        self._digests = Digests()
        self._failed = threading.Event()
        self._processors = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._output = threading.Lock()

    def run(self, action: Action) -> int:
        """Runs an action: see ``Strategy``."""
        if action.outside:
            return self._here.run(action)
        if not self._failed.is_set():
            try:
                return self._run(action)
            except InterruptedBuildError:
                return FAILED
            except (UnavailableError, DamagedError, OSError) as error:
                self._note(action, error)
                if not self._fallback:
                    return FAILED
        with self._processors:  # as many jobs as the server takes at once may be too many here
            return self._here.run(action)

    def close(self) -> None:
        """Ends what was started here."""
        self._here.close()

    def interrupt(self) -> None:
        """Ends all that runs, on the server too."""
        self._executions.interrupt()

    def _note(self, action: Action, error: Exception) -> None:
        if not self._fallback:
            where = f"{action.rule} {action.outputs[0]}"
            hint = "with --remote-fallback=local, what the server cannot do is done here"
            self._tell(str(Problem(where, f"{self._server.name}: {error}", hint)))
            return
        with self._output:
            first = not self._failed.is_set()
            self._failed.set()
        if first:
            self._tell(str(Problem(self._server.name, str(error), "the rest of the build runs on this machine")))

    def _run(self, action: Action) -> int:
        digest, blobs = self._described(action)
        found = self._found(digest)
        if found is not None and self._brought(action, found):
            self._on_hit()
            self._show(found)
            return 0
        response = self._executions.run(digest, lambda: self._blobs.upload(blobs), again=found is not None)
        result = response.result
        if result.exit_code:
            self._show(result)
            self._show_logs(response)
            return result.exit_code
        missing = set(action.outputs) - {it.path for it in result.output_files}
        if missing:
            raise UnavailableError(f"it has run {action.rule} without making {', '.join(sorted(missing))}")
        if not self._brought(action, result):
            raise UnavailableError(f"it has lost what {action.rule} made")
        self._show(result)
        return 0

    def _described(self, action: Action) -> tuple[Digest, Mapping[Digest, Source]]:
        """The digest of an action as the API describes it, and all blobs that it consists of."""
        names = sorted(self._said.platform.items())
        platform = reapi.Platform(properties=[reapi.Platform.Property(name=key, value=value) for key, value in names])
        command = reapi.Command(
            arguments=[self._said.python or sys.executable, *action.command[1:]],
            environment_variables=[
                reapi.Command.EnvironmentVariable(name=key, value=value)
                for key, value in sorted(action.environment.items())
            ],
            output_paths=sorted(action.outputs),
            platform=platform,
        ).SerializeToString(deterministic=True)
        there = (it for it in (*action.inputs, *action.consulted) if not Path(it).is_absolute() and Path(it).is_file())
        root, blobs = tree(there, self._digests)
        message = reapi.Action(
            command_digest=as_message(of_bytes(command)),
            input_root_digest=as_message(root),
            salt=hashlib.sha256("\n".join(action.toolchain).encode()).digest(),
            platform=platform,
        )
        message.timeout.FromSeconds(self._said.timeout)
        described = message.SerializeToString(deterministic=True)
        digest = of_bytes(described)
        return digest, {**blobs, of_bytes(command): command, digest: described}

    def _found(self, digest: Digest) -> reapi.ActionResult | None:
        request = reapi.GetActionResultRequest(instance_name=self._server.instance, action_digest=as_message(digest))
        try:
            result: reapi.ActionResult = self._server.call(self._results.GetActionResult, request)
        except AbsentError:
            return None
        return None if result.exit_code else result

    def _brought(self, action: Action, result: reapi.ActionResult) -> bool:
        outputs = {path: Path(path) for path in action.outputs}
        if not place(self._blobs.download, action_result.decode(result.SerializeToString()), outputs):
            return False
        if action.folder:
            remove_others(Path(action.folder), outputs.values())
        return True

    def _show(self, result: reapi.ActionResult) -> None:
        """Prints what an action has printed."""
        out = self._text(result.stdout_raw, result.stdout_digest)
        err = self._text(result.stderr_raw, result.stderr_digest)
        with self._output:
            sys.stdout.write(out)
            sys.stdout.flush()
            sys.stderr.write(err)
            sys.stderr.flush()

    def _show_logs(self, response: reapi.ExecuteResponse) -> None:
        logs = [it.digest for it in response.server_logs.values() if it.human_readable]
        for text in (response.message, *(self._text(b"", digest) for digest in logs)):
            if text:
                self._tell(f"{self._server.name}: {text.rstrip()}")

    def _text(self, raw: bytes, digest: reapi.Digest) -> str:
        if not raw and 0 < digest.size_bytes <= _LONGEST_LOG:
            raw = self._blobs.read(Digest(digest.hash, digest.size_bytes))
        return raw.decode("utf-8", "replace")
