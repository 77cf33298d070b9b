"""The service TeaclaveFrontend. Messages are those of ``proto/``, which have no types."""

from __future__ import annotations

import ipaddress
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from onnx_wasm.teaclave import tasks
from onnx_wasm.teaclave.file_crypto import TAG, CryptoError, FileCrypto
from onnx_wasm.teaclave.places import PlaceError, Places
from onnx_wasm.teaclave.refusal import Code, Refusal, denied, invalid
from onnx_wasm.teaclave.tasks import Argument, DataName, Function, InputFile, OutputFile, Result, Status, Task
from onnx_wasm.teaclave.users import User

EXECUTOR = "wamr"
"""The executor that runs WebAssembly, the only one here."""

_MOST = 10_000
"""Entries of each kind."""

_MOST_PAYLOADS = 1 << 30
"""Bytes of all payloads."""

_MOST_LOGS = 10_000

_HERE = bytes(12) + ipaddress.IPv4Address("127.0.0.1").packed
"""Where all requests come from, as IPv6."""


class Starter(Protocol):
    """Runs tasks in the background."""

    def start(self, task: Task, payload: bytes) -> None:
        """Runs a task as soon as there is room for it."""
        ...

    def stop(self, task: str) -> None:
        """Ends what runs of a task."""
        ...


class _Entry(Protocol):
    @property
    def id(self) -> str: ...


E = TypeVar("E", bound=_Entry)


class _Table(dict[str, E]):
    """Entries of one kind by their ids, of the form ``kind-uuid``."""

    def __init__(self, kind: str, called: str) -> None:
        super().__init__()
        self._kind = kind
        self._called = called

    def new_id(self) -> str:
        """An id for another entry."""
        if len(self) >= _MOST:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"there are {_MOST} entries of the kind {self._kind} already")
        return f"{self._kind}-{uuid4()}"

    def put(self, entry: E) -> E:
        """Keeps an entry, in place of the one that has its id."""
        self[entry.id] = entry
        return entry

    def find(self, id_: str) -> E:
        """Gives an entry.

        Raises:
            Refusal: There is none.
        """
        if id_ not in self:
            raise invalid(f'invalid {self._called} id: there is no "{id_[:100]}"')
        return self[id_]


@dataclass(frozen=True)
class LogEntry:
    """A line of the audit log."""

    microsecond: int
    ip: bytes
    user: str
    message: str
    result: bool


class Frontend:
    """Registers files and functions, creates tasks and has them run. What it knows is gone when it ends.

    Each method takes a request's message and the user who makes it, and gives the fields of the response.

    Args:
        places: What addresses of files lead to.
        starter: Runs the tasks; whoever does reports to ``task_started`` and ``task_ended``.
    """

    def __init__(self, places: Places, starter: Starter) -> None:
        self._places = places
        self._starter = starter
        self._inputs: _Table[InputFile] = _Table("input", "data")
        self._outputs: _Table[OutputFile] = _Table("output", "data")
        self._functions: _Table[Function] = _Table("function", "function")
        self._tasks: _Table[Task] = _Table("task", "task")
        self._logs: deque[LogEntry] = deque(maxlen=_MOST_LOGS)

    # Files

    def register_input_file(self, request: Any, user: User) -> dict[str, object]:
        self._check_place(request.url, writing=False)
        if len(request.cmac) != TAG:
            raise Refusal(Code.INTERNAL, f"Invalid length: the cmac has {len(request.cmac)} bytes, not {TAG}")
        crypto = _crypto(request)
        return self._registered(
            InputFile(self._inputs.new_id(), request.url, request.cmac, crypto, frozenset({user.id}))
        )

    def update_input_file(self, request: Any, user: User) -> dict[str, object]:
        old = self._inputs.find(request.data_id)
        _must_own_alone(user, old)
        self._check_place(request.url, writing=False)
        return self._registered(replace(old, id=self._inputs.new_id(), url=request.url))

    def register_output_file(self, request: Any, user: User) -> dict[str, object]:
        self._check_place(request.url, writing=True)
        crypto = _crypto(request)
        if not crypto.writes:
            raise Refusal(Code.INTERNAL, f"{crypto.schema} is for inputs only")
        return self._registered(OutputFile(self._outputs.new_id(), request.url, crypto, frozenset({user.id})))

    def update_output_file(self, request: Any, user: User) -> dict[str, object]:
        old = self._outputs.find(request.data_id)
        _must_own_alone(user, old)
        self._check_place(request.url, writing=True)
        return self._registered(replace(old, id=self._outputs.new_id(), url=request.url, tag=b""))

    def register_fusion_output(self, request: Any, user: User) -> dict[str, object]:
        owners = frozenset(request.owner_list)
        if len(request.owner_list) < 2 or user.id not in owners:
            raise denied("data of several owners needs two or more, who registers it among them")
        crypto = FileCrypto.random()
        return self._registered(OutputFile(self._outputs.new_id(), self._places.new_fusion(), crypto, owners))

    def register_input_from_output(self, request: Any, user: User) -> dict[str, object]:
        output = self._outputs.find(request.data_id)
        _must_own(user, output)
        if not output.tag:
            raise invalid("invalid output file: no task has written it yet")
        return self._registered(InputFile(self._inputs.new_id(), output.url, output.tag, output.crypto, output.owners))

    def get_input_file(self, request: Any, user: User) -> dict[str, object]:
        return _told(user, self._inputs.find(request.data_id))

    def get_output_file(self, request: Any, user: User) -> dict[str, object]:
        return _told(user, self._outputs.find(request.data_id))

    # Functions

    def register_function(self, request: Any, user: User) -> dict[str, object]:
        return self._keep(_function(request, self._functions.new_id(), user.id))

    def update_function(self, request: Any, user: User) -> dict[str, object]:
        old = self._functions.find(request.function_id)
        _must_have_registered(user, old)
        return self._keep(replace(_function(request, old.id, user.id), used=old.used))

    def get_function(self, request: Any, user: User) -> dict[str, object]:
        function = self._functions.find(request.function_id)
        whole = function.public or user.role.admin or function.owner == user.id
        if not whole and user.id not in function.allowed:
            raise denied(f"{function.id} is not public, and {user.id} is not in its allow list")
        return {
            **{key: getattr(function, key) for key in ("name", "description", "owner", "public")},
            "executor_type": EXECUTOR,
            "payload": function.payload if whole else b"",
            "user_allowlist": function.allowed if whole else (),
            "inputs": [vars(it) for it in function.inputs],
            "outputs": [vars(it) for it in function.outputs],
            "arguments": [
                {"key": it.key, "default_value": it.default, "allow_overwrite": it.overwritable}
                for it in function.arguments
            ],
        }

    def get_function_usage_stats(self, request: Any, user: User) -> dict[str, object]:
        function = self._functions.find(request.function_id)
        if not (function.public or user.role.admin or user.id in function.allowed):
            raise denied(f"{function.id} is not public, and {user.id} is not in its allow list")
        return {"function_quota": -1 if function.quota is None else function.quota, "current_usage": function.used}

    def delete_function(self, request: Any, user: User) -> dict[str, object]:
        function = self._functions.find(request.function_id)
        _must_have_registered(user, function)
        del self._functions[function.id]
        return {}

    def disable_function(self, request: Any, user: User) -> dict[str, object]:
        function = self._functions.find(request.function_id)
        if not user.role.admin:
            _must_have_registered(user, function)
        self._functions.put(replace(function, allowed=(), disabled=True))
        return {}

    def list_functions(self, request: Any, user: User) -> dict[str, object]:
        if not user.role.admin and request.user_id != user.id:
            raise denied(f"{user.id} may not list the functions of {request.user_id}")
        listed = [it for it in self._functions.values() if not it.disabled]
        return {
            "registered_functions": [it.id for it in listed if it.owner == request.user_id],
            "allowed_functions": [
                it.id for it in self._functions.values() if user.role.admin or request.user_id in it.allowed
            ],
        }

    # Tasks

    def create_task(self, request: Any, user: User) -> dict[str, object]:
        function = self._functions.find(request.function_id)
        if not user.role.admin and not function.public and user.role.attribute not in function.allowed:
            raise denied(f'{function.id} is not public, and "{user.role.attribute}" is not in its allow list')
        _check_executor(request.executor)
        task = tasks.create(
            *(self._tasks.new_id(), user.id, function, request.function_arguments),
            input_owners=_owners(request.inputs_ownership),
            output_owners=_owners(request.outputs_ownership),
        )
        return {"task_id": self._tasks.put(task).id}

    def get_task(self, request: Any, user: User) -> dict[str, object]:
        task = self._tasks.find(request.task_id)
        task.check_participant(user.id)
        return {
            "task_id": task.id,
            "creator": task.creator,
            "function_id": task.function,
            "function_owner": task.function_owner,
            "function_arguments": tasks.as_json(task.arguments),
            "inputs_ownership": [{"data_name": key, "uids": sorted(it)} for key, it in task.input_owners.items()],
            "outputs_ownership": [{"data_name": key, "uids": sorted(it)} for key, it in task.output_owners.items()],
            "participants": sorted(task.participants),
            "approved_users": sorted(task.approved),
            "assigned_inputs": [{"data_name": key, "data_id": it.id} for key, it in task.inputs.items()],
            "assigned_outputs": [{"data_name": key, "data_id": it.id} for key, it in task.outputs.items()],
            "status": int(task.status),
            "result": _result(task.result),
        }

    def assign_data(self, request: Any, user: User) -> dict[str, object]:
        task = self._tasks.find(request.task_id)
        task.check_participant(user.id)
        inputs = {it.data_name: self._inputs.find(it.data_id) for it in request.inputs}
        outputs = {it.data_name: self._outputs.find(it.data_id) for it in request.outputs}
        self._tasks.put(task.assigned(user.id, inputs, outputs))
        return {}

    def approve_task(self, request: Any, user: User) -> dict[str, object]:
        self._tasks.put(self._tasks.find(request.task_id).approved_by(user.id))
        return {}

    def invoke_task(self, request: Any, user: User) -> dict[str, object]:
        task = self._tasks.find(request.task_id)
        task.check_creator(user.id)
        function = self._functions.find(task.function)
        if function.quota is not None and function.used >= function.quota:
            raise Refusal(Code.UNKNOWN, f"function quota has been used up: {function.used} of {function.quota}")
        staged = self._tasks.put(task.staged(user.id))
        self._functions.put(replace(function, used=function.used + 1))
        self._starter.start(staged, function.payload)
        return {}

    def cancel_task(self, request: Any, user: User) -> dict[str, object]:
        task = self._tasks.find(request.task_id)
        if not user.role.admin:
            task.check_creator(user.id)
        if task.has_ended:
            raise Refusal(Code.UNKNOWN, f"failed to cancel task, reason: it is {task.status.name.lower()} already")
        self._tasks.put(task.ended(Status.CANCELED, Result(None, reason="Task Canceled by the user")))
        self._starter.stop(task.id)
        return {}

    def task_started(self, id_: str) -> bool:
        """Notes that a task runs; gives whether it is still to."""
        task = self._tasks[id_]
        if task.has_ended:
            return False
        self._tasks.put(replace(task, status=Status.RUNNING))
        return True

    def task_ended(self, id_: str, status: Status, result: Result) -> None:
        """Notes what came of a task, unless it was cancelled."""
        task = self._tasks[id_]
        if task.has_ended:
            return
        ended = self._tasks.put(task.ended(status, result))
        for file in ended.outputs.values():
            self._outputs.put(file)

    # The audit log

    def query_audit_logs(self, request: Any, _user: User) -> dict[str, object]:
        words = request.query.lower().split()
        found = [it for it in reversed(self._logs) if not words or any(word in it.message.lower() for word in words)]
        return {"logs": [vars(it) for it in found[: request.limit]]}

    def log(self, user: str, message: str, *, result: bool) -> None:
        """Notes a request: who made it, and whether it was carried out."""
        self._logs.append(LogEntry(time.time_ns() // 1000, _HERE, user, message, result))

    def _check_place(self, url: str, *, writing: bool) -> None:
        try:
            self._places.check(url, writing=writing)
        except PlaceError as error:
            raise invalid(str(error)) from error

    def _registered(self, file: InputFile | OutputFile) -> dict[str, object]:
        if isinstance(file, InputFile):
            self._inputs.put(file)
        else:
            self._outputs.put(file)
        return {"data_id": file.id}

    def _keep(self, function: Function) -> dict[str, object]:
        others = sum(len(it.payload) for it in self._functions.values() if it.id != function.id)
        if others + len(function.payload) > _MOST_PAYLOADS:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"all payloads together are more than {_MOST_PAYLOADS:,} bytes")
        return {"function_id": self._functions.put(function).id}


def _function(request: Any, id_: str, owner: str) -> Function:
    """What a request registers, or makes of what was registered before."""
    _check_executor(request.executor_type)
    return Function(
        *(id_, owner, request.name, request.description, request.public, request.payload),
        arguments=tuple(Argument(it.key, it.default_value, it.allow_overwrite) for it in request.arguments),
        inputs=_data_names(request.inputs),
        outputs=_data_names(request.outputs),
        allowed=tuple(request.user_allowlist),
        quota=None if request.usage_quota < 0 else request.usage_quota,
    )


def _data_names(declared: Iterable[Any]) -> tuple[DataName, ...]:
    return tuple(DataName(it.name, it.description, it.optional) for it in declared)


def _owners(lists: Iterable[Any]) -> tasks.Owners:
    return {it.data_name: frozenset(it.uids) for it in lists}


def _check_executor(executor: str) -> None:
    if executor != EXECUTOR:
        raise Refusal(Code.UNIMPLEMENTED, f'teaclave-local has no executor "{executor}": it runs {EXECUTOR} only')


def _crypto(request: Any) -> FileCrypto:
    if not request.HasField("crypto_info"):
        raise Refusal(Code.INTERNAL, "missing crypto_info")
    try:
        return FileCrypto(request.crypto_info.schema, request.crypto_info.key, request.crypto_info.iv)
    except CryptoError as error:
        raise Refusal(Code.INTERNAL, str(error)) from error


def _must_own(user: User, file: InputFile | OutputFile) -> None:
    if user.id not in file.owners:
        raise denied(f"{file.id} is not of {user.id}")


def _must_own_alone(user: User, file: InputFile | OutputFile) -> None:
    if file.owners != {user.id}:
        raise denied(f"{file.id} is not of {user.id} alone")


def _must_have_registered(user: User, function: Function) -> None:
    if function.owner != user.id:
        raise denied(f"{function.id} was registered by another user")


def _told(user: User, file: InputFile | OutputFile) -> dict[str, object]:
    _must_own(user, file)
    return {"owner": sorted(file.owners), "cmac": file.tag}


def _result(result: Result | None) -> dict[str, object]:
    if result is None:
        return {}
    if result.value is None:
        return {"Err": {"reason": result.reason}}
    return {"Ok": {"return_value": result.value, "tags_map": dict(result.tags)}}
