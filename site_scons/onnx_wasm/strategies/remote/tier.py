"""A server of the Remote Execution API as a tier of the cache."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2_grpc as reapi_grpc

from onnx_wasm.strategies.cache import action_result
from onnx_wasm.strategies.cache.action_result import ActionResult
from onnx_wasm.strategies.cache.digest import Digest, of_bytes
from onnx_wasm.strategies.remote.blobs import Blobs, as_message
from onnx_wasm.strategies.remote.server import AbsentError, Server


class GrpcTier:
    """A server's action cache, and its blobs.

    A key stands for an action that does nothing and has the key as its salt. Servers that look for the action of a
    result find it.

    Args:
        server: The server.
    """

    def __init__(self, server: Server) -> None:
        self.name = server.name
        self._server = server
        self._blobs = Blobs(server)
        self._results = reapi_grpc.ActionCacheStub(server.channel)

    def lookup(self, key: str) -> ActionResult | None:
        """See ``Tier``."""
        action, _ = _action(key)
        request = reapi.GetActionResultRequest(instance_name=self._server.instance, action_digest=as_message(action))
        try:
            result: reapi.ActionResult = self._server.call(self._results.GetActionResult, request)
        except AbsentError:
            return None
        return action_result.decode(result.SerializeToString())

    def fetch(self, blobs: Mapping[Path, Digest]) -> bool:
        """See ``Tier``."""
        return self._blobs.download(blobs)

    def store(self, key: str, result: ActionResult, files: Mapping[Path, Digest]) -> None:
        """See ``Tier``."""
        action, messages = _action(key)
        self._blobs.upload({**messages, **{digest: path for path, digest in files.items()}})
        request = reapi.UpdateActionResultRequest(
            instance_name=self._server.instance,
            action_digest=as_message(action),
            action_result=reapi.ActionResult.FromString(result.encode()),
        )
        self._server.call(self._results.UpdateActionResult, request)


def _action(key: str) -> tuple[Digest, Mapping[Digest, bytes]]:
    """The digest of a key's action, and the messages that it consists of."""
    nothing = of_bytes(b"")  # an empty Command, an empty Directory
    message = reapi.Action(
        command_digest=as_message(nothing), input_root_digest=as_message(nothing), salt=bytes.fromhex(key)
    ).SerializeToString(deterministic=True)
    action = of_bytes(message)
    return action, {nothing: b"", action: message}
