"""Teaclave's messages and services, made from ``proto/`` when they are needed: there is no generated code."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc_tools.protoc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = Path(__file__).with_name("proto")
AUTHENTICATION = "teaclave_authentication_service_proto.TeaclaveAuthenticationApi"
FRONTEND = "teaclave_frontend_service_proto.TeaclaveFrontend"

_FILES = ("teaclave_authentication_service.proto", "teaclave_frontend_service.proto")


@dataclass(frozen=True)
class Method:
    """A call of a service.

    Args:
        name: As gRPC has it, ``CreateTask``.
        request: The class of its request.
        response: The class of its response.
    """

    name: str
    request: Any
    response: Any


def methods(service: str) -> list[Method]:
    """The calls of a service.

    Args:
        service: Its full name, ``AUTHENTICATION`` or ``FRONTEND``.
    """
    found = _pool().FindServiceByName(service)
    made = message_factory.GetMessageClass
    return [Method(it.name, made(it.input_type), made(it.output_type)) for it in found.methods]


@functools.cache
def _pool() -> Any:
    """All descriptors, in a pool of their own: another library may know files of the same names."""
    pool = descriptor_pool.DescriptorPool()
    for file in _compiled().file:
        pool.Add(file)
    return pool


def _compiled() -> Any:
    known = Path(grpc_tools.protoc.__file__).with_name("_proto")
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "descriptors"
        paths = (f"--proto_path={PROTO}", f"--proto_path={known}")
        options = ("--include_imports", f"--descriptor_set_out={compiled}")
        if grpc_tools.protoc.main(["protoc", *paths, *options, *_FILES]):
            raise RuntimeError(f"protoc does not take {PROTO}")
        return descriptor_pb2.FileDescriptorSet.FromString(compiled.read_bytes())
