"""Both services over one state, whatever protocol a request comes by: one request at a time, tasks beside them."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onnx_wasm.teaclave import messages
from onnx_wasm.teaclave.authentication import Authentication
from onnx_wasm.teaclave.frontend import Frontend
from onnx_wasm.teaclave.messages import Method
from onnx_wasm.teaclave.places import Places
from onnx_wasm.teaclave.refusal import Code, Refusal
from onnx_wasm.teaclave.runner import Observer, Runner
from onnx_wasm.teaclave.tasks import Result, Status
from onnx_wasm.teaclave.users import Users, check_call


@dataclass(frozen=True)
class Call:
    """A call of a service.

    Args:
        method: Its name and messages.
        handle: From a request's message and metadata to the fields of the response.
    """

    method: Method
    handle: Callable[[Any, Mapping[str, str]], dict[str, object]]

    def __call__(self, request: Any, metadata: Mapping[str, str]) -> Any:
        """Carries a request out.

        Raises:
            Refusal: It is not; whatever the reason, that is all that comes of it.
        """
        try:
            return self.method.response(**self.handle(request, metadata))
        except Refusal:
            raise
        except Exception as error:
            # A mistake of ours must not be the end of other requests.
            sys.stderr.write(f"teaclave-local: {self.method.name}: {error!r}\n")
            raise Refusal(Code.INTERNAL, f"service internal error: {error!r}") from error


@dataclass(frozen=True)
class Service:
    """A service.

    Args:
        name: Its full name in gRPC.
        calls: Its calls, by their names in snake case.
    """

    name: str
    calls: Mapping[str, Call]


class Services:
    """Teaclave's two public services. What they know is gone when they end.

    Args:
        places: What addresses of files lead to.
        seconds: How long a payload may run.
        token_seconds: How long a token is good for.
    """

    def __init__(self, places: Places, seconds: float, token_seconds: float) -> None:
        self._lock = threading.RLock()
        self._users = Users(token_seconds)
        self._authentication = Authentication(self._users)
        self._runner = Runner(places, seconds, Observer(self._task_started, self._task_ended))
        self._frontend = Frontend(places, self._runner)
        self.authentication = _service(messages.AUTHENTICATION, self._authenticate)
        self.frontend = _service(messages.FRONTEND, self._front)

    def close(self) -> None:
        """Ends the tasks that run."""
        self._runner.close()

    def _authenticate(self, method: str, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        with self._lock:
            fields: dict[str, object] = getattr(self._authentication, _snake(method))(request, metadata)
            return fields

    def _front(self, method: str, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        """A call of the frontend, which knows who makes it and notes every one."""
        with self._lock:
            caller = ""
            try:
                user = self._users.holder(metadata.get("id"), metadata.get("token"))
                caller = f"{{ user: {user.id}, role: {user.role} }}"
                check_call(user, method)
                fields: dict[str, object] = getattr(self._frontend, _snake(method))(request, user)
            except Refusal as refusal:
                self._frontend.log(caller, f"{_snake(method)}: {refusal}", result=False)
                raise
            self._frontend.log(caller, _snake(method), result=True)
            return fields

    def _task_started(self, task: str) -> bool:
        with self._lock:
            return self._frontend.task_started(task)

    def _task_ended(self, task: str, status: Status, result: Result) -> None:
        with self._lock:
            self._frontend.task_ended(task, status, result)


def _service(name: str, handle: Callable[[str, Any, Mapping[str, str]], dict[str, object]]) -> Service:
    def call(method: Method) -> Call:
        return Call(method, lambda request, metadata: handle(method.name, request, metadata))

    return Service(name, {_snake(it.name): call(it) for it in messages.methods(name)})


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
