"""What the Python SDK of Teaclave 0.5 speaks: the same messages as JSON, one after the other on a connection.

A message has its length before it, in eight bytes, the most significant first. A request is ``{"metadata": {"id": …,
"token": …}, "message": {"create_task": {…}}}``, a response ``{"result": "ok", "response": "create_task", "content":
{…}}`` or ``{"result": "err",
"request_error": "…"}``. Bytes are lists of numbers.

Read from ``rpc/src`` and ``sdk/python`` of apache/incubator-teaclave at v0.5.1.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

from onnx_wasm.teaclave.refusal import Refusal, invalid
from onnx_wasm.teaclave.services import Service

HEADER = struct.Struct(">Q")
LARGEST = 32 << 20
"""Bytes of the largest message, as in Teaclave 0.5."""


def answer(service: Service, data: bytes) -> bytes:
    """Answers a request.

    Args:
        service: Who carries it out.
        data: The request, without its length.

    Returns:
        The response, without its length.
    """
    try:
        method, fields, metadata = _parsed(data)
        call = service.calls.get(method)
        if call is None:
            raise invalid(f"there is no request {method[:100]!r}")
        content = _to_json(call(_from_json(call.method.request, fields), metadata))
        response = {"result": "ok", "response": method, "content": content}
    except Refusal as refusal:
        response = {"result": "err", "request_error": str(refusal)}
    return json.dumps(response, separators=(",", ":")).encode()


def _parsed(data: bytes) -> tuple[str, object, dict[str, str]]:
    """The method's name, the request's fields and the metadata."""
    try:
        whole = json.loads(data)
        ((method, fields),) = whole["message"].items()
        metadata = {str(key): str(it) for key, it in (whole.get("metadata") or {}).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise invalid(f"this is no request: {error!r}"[:200]) from error
    return method, fields, metadata


def _from_json(message: Any, fields: object) -> Any:
    """A message of a class."""
    if not isinstance(fields, Mapping):
        raise invalid(f"{message.DESCRIPTOR.name} is no object")
    known = message.DESCRIPTOR.fields_by_name
    try:
        return message(**{key: _value(known[key], it) for key, it in fields.items() if it is not None})
    except (ValueError, TypeError, KeyError) as error:
        raise invalid(f"{message.DESCRIPTOR.name} cannot be made of this: {error!r}"[:300]) from error


def _value(field: Any, value: Any) -> Any:
    if field.is_repeated:
        return [_single(field, it) for it in value]
    return _single(field, value)


def _single(field: Any, value: Any) -> Any:
    if field.type == FieldDescriptor.TYPE_BYTES:
        return bytes(value)
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        return _from_json(message_factory.GetMessageClass(field.message_type), value)
    return value


def _to_json(value: Any) -> Any:
    """A message, with every field that it has, or what is in one."""
    match value:
        case bytes():
            return list(value)
        case str() | int() | float():
            return value
        case Mapping():
            return {key: _to_json(it) for key, it in value.items()}
    if not hasattr(value, "DESCRIPTOR"):
        return [_to_json(it) for it in value]
    fields = {it.name: it for it in value.DESCRIPTOR.fields}
    choices = {it.name: value.WhichOneof(it.name) for it in value.DESCRIPTOR.oneofs}
    return {
        **{name: _to_json(getattr(value, name)) for name, it in fields.items() if it.containing_oneof is None},
        **{name: {it: _to_json(getattr(value, it))} if it else None for name, it in choices.items()},
    }
