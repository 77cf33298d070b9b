"""A small client with the public names of Teaclave's Python SDK, over the same bytes on the wire.

The messages are put together here by hand, number by number, so that a wrong number in ``proto/`` does not go unseen.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import grpc

Fields = tuple[tuple[int, object], ...]
"""Numbers and values: text, bytes, numbers, or a message's own fields; a list for a field that is repeated."""

FINISHED, CANCELED, FAILED = 10, 20, 99


class TeaclaveException(Exception):  # noqa: N818 - the SDK's name
    """A request was refused."""


def encode(fields: Iterable[tuple[int, object]]) -> bytes:
    """The bytes of a message."""
    return b"".join(_encoded(number, it) for number, value in fields for it in _each(value))


def decode(data: bytes) -> dict[int, list[Any]]:
    """The values of each number in a message: ints, and bytes for all else."""
    found: dict[int, list[Any]] = {}
    stream = iter(data)
    while (key := _read_varint(stream)) is not None:
        value = _read_varint(stream)
        assert value is not None
        if key & 7 == 2:
            value = bytes(next(stream) for _ in range(value))  # type: ignore[assignment]
        found.setdefault(key >> 3, []).append(value)
    return found


def _each(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _encoded(number: int, value: object) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value & (1 << 64) - 1)
    data = encode(value) if isinstance(value, tuple) else value.encode() if isinstance(value, str) else value
    assert isinstance(data, bytes)
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _read_varint(stream: Iterator[int]) -> int | None:
    value, shift = 0, 0
    for byte in stream:
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
    return None


class FunctionInput:
    def __init__(self, name: str, description: str, optional: bool = False) -> None:
        self.fields: Fields = ((1, name), (2, description), (3, optional))


class FunctionOutput(FunctionInput):
    pass


class FunctionArgument:
    def __init__(self, key: str, default_value: str = "", allow_overwrite: bool = True) -> None:
        self.fields: Fields = ((1, key), (2, default_value), (3, allow_overwrite))


class OwnerList:
    def __init__(self, data_name: str, uids: list[str]) -> None:
        self.fields: Fields = ((1, data_name), (2, uids))


class DataMap:
    def __init__(self, data_name: str, data_id: str) -> None:
        self.fields: Fields = ((1, data_name), (2, data_id))


class _Service:
    path = ""

    def __init__(self, address: tuple[str, int], _root_ca: str = "", _enclave_info: str = "") -> None:
        host, port = address
        certificate = ssl.get_server_certificate(("127.0.0.1", port)).encode()
        credentials = grpc.ssl_channel_credentials(root_certificates=certificate)
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.secure_channel(f"{host}:{port}", credentials, options)
        self.metadata: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def call(self, method: str, fields: Iterable[tuple[int, object]] | bytes) -> dict[int, list[Any]]:
        """Makes a request; gives the response's values."""
        request = fields if isinstance(fields, bytes) else encode(fields)
        remote = self._channel.unary_unary(f"/{self.path}/{method}")
        try:
            return decode(remote(request, metadata=tuple(self.metadata.items()), timeout=60))
        except grpc.RpcError as error:
            raise TeaclaveException(f"{error.code().name}: {error.details()}") from error


class AuthenticationService(_Service):
    path = "teaclave_authentication_service_proto.TeaclaveAuthenticationApi"

    def user_login(self, user_id: str, user_password: str) -> str:
        token = self.call("UserLogin", [(1, user_id), (2, user_password)])[1][0].decode()
        self.metadata = {"id": user_id, "token": token}
        return str(token)

    def user_register(self, user_id: str, user_password: str, role: str = "", attribute: str = "") -> None:
        self.call("UserRegister", [(1, user_id), (2, user_password), (3, role), (4, attribute)])

    def user_update(self, user_id: str, user_password: str, role: str, attribute: str = "") -> None:
        self.call("UserUpdate", [(1, user_id), (2, user_password), (3, role), (4, attribute)])

    def user_change_password(self, user_password: str) -> None:
        self.call("UserChangePassword", [(1, user_password)])

    def reset_user_password(self, user_id: str) -> str:
        return str(self.call("ResetUserPassword", [(1, user_id)])[1][0].decode())

    def delete_user(self, user_id: str) -> None:
        self.call("DeleteUser", [(1, user_id)])

    def list_users(self, user_id: str) -> list[str]:
        return [it.decode() for it in self.call("ListUsers", [(1, user_id)]).get(1, [])]


class FrontendService(_Service):
    path = "teaclave_frontend_service_proto.TeaclaveFrontend"

    def register_function(
        self,
        name: str,
        description: str,
        executor_type: str,
        public: bool = True,
        payload: Sequence[int] = (),
        arguments: Sequence[FunctionArgument] = (),
        inputs: Sequence[FunctionInput] = (),
        outputs: Sequence[FunctionOutput] = (),
        user_allowlist: Sequence[str] = (),
        usage_quota: int = -1,
    ) -> str:
        fields = [
            *((1, name), (2, description), (3, executor_type), (4, public), (5, bytes(payload))),
            *((6, [it.fields for it in arguments]), (10, [it.fields for it in inputs])),
            *((11, [it.fields for it in outputs]), (12, list(user_allowlist)), (13, usage_quota)),
        ]
        return _text(self.call("RegisterFunction", fields))

    def get_function(self, function_id: str) -> dict[int, list[Any]]:
        return self.call("GetFunction", [(1, function_id)])

    def register_input_file(
        self, url: str, schema: str, key: Sequence[int], iv: Sequence[int], cmac: Sequence[int]
    ) -> str:
        fields = [(1, url), (2, bytes(cmac)), (3, _crypto(schema, key, iv))]
        return _text(self.call("RegisterInputFile", fields))

    def register_output_file(self, url: str, schema: str, key: Sequence[int], iv: Sequence[int]) -> str:
        return _text(self.call("RegisterOutputFile", [(1, url), (2, _crypto(schema, key, iv))]))

    def register_fusion_output(self, owners: list[str]) -> str:
        return _text(self.call("RegisterFusionOutput", [(1, owners)]))

    def register_input_from_output(self, data_id: str) -> str:
        return _text(self.call("RegisterInputFromOutput", [(1, data_id)]))

    def create_task(
        self,
        function_id: str,
        function_arguments: Mapping[str, object],
        executor: str,
        inputs_ownership: Sequence[OwnerList] = (),
        outputs_ownership: Sequence[OwnerList] = (),
    ) -> str:
        fields = [
            *((1, function_id), (2, json.dumps(function_arguments)), (3, executor)),
            *((10, [it.fields for it in inputs_ownership]), (11, [it.fields for it in outputs_ownership])),
        ]
        return _text(self.call("CreateTask", fields))

    def assign_data_to_task(self, task_id: str, inputs: Sequence[DataMap], outputs: Sequence[DataMap]) -> None:
        fields = [(1, task_id), (2, [it.fields for it in inputs]), (3, [it.fields for it in outputs])]
        self.call("AssignData", fields)

    def approve_task(self, task_id: str) -> None:
        self.call("ApproveTask", [(1, task_id)])

    def invoke_task(self, task_id: str) -> None:
        self.call("InvokeTask", [(1, task_id)])

    def cancel_task(self, task_id: str) -> None:
        self.call("CancelTask", [(1, task_id)])

    def get_task(self, task_id: str) -> dict[str, Any]:
        """What the SDK gives of it, as far as the tests need it."""
        task = self.call("GetTask", [(1, task_id)])
        result = decode(task[21][0]) if 21 in task else {}
        said: dict[str, Any] = {}
        if 1 in result:
            outputs = decode(result[1][0])
            tags = [decode(it) for it in outputs.get(2, [])]
            said["Ok"] = {
                "return_value": outputs.get(1, [b""])[0],
                "tags_map": {it[1][0].decode(): it[2][0] for it in tags},
            }
        if 2 in result:
            said["Err"] = {"reason": decode(result[2][0])[1][0].decode()}
        return {
            "status": task.get(20, [0])[0],
            "participants": [it.decode() for it in task[8]],
            "approved_users": [it.decode() for it in task.get(9, [])],
            "result": said,
        }

    def get_task_result(self, task_id: str) -> bytes:
        while (task := self.get_task(task_id))["status"] < FINISHED:
            time.sleep(0.05)
        if task["status"] in (CANCELED, FAILED):
            raise TeaclaveException(task["result"]["Err"]["reason"])
        value: bytes = task["result"].get("Ok", {}).get("return_value", b"")
        return value

    def get_output_cmac_by_tag(self, task_id: str, tag: str) -> bytes:
        self.get_task_result(task_id)
        cmac: bytes = self.get_task(task_id)["result"]["Ok"]["tags_map"][tag]
        return cmac


def _crypto(schema: str, key: Sequence[int], iv: Sequence[int]) -> Fields:
    return (1, schema), (2, bytes(key)), (3, bytes(iv))


def _text(response: Mapping[int, list[Any]]) -> str:
    return str(response[1][0].decode())
