"""The service TeaclaveAuthenticationApi. Messages are those of ``proto/``, which have no types."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onnx_wasm.teaclave.users import User, Users, must, role


@dataclass(frozen=True)
class Authentication:
    """Registers users and gives them tokens.

    Each method takes a request's message and metadata and gives the fields of the response.
    """

    users: Users

    def user_login(self, request: Any, _metadata: Mapping[str, str]) -> dict[str, object]:
        return {"token": self.users.log_in(request.id, request.password)}

    def user_register(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        caller, its = self._caller(metadata), role(request.role, request.attribute)
        must(caller.role.may_make(its), f"{caller.role} may not register {its}")
        self.users.add(request.id, request.password, its)
        return {}

    def user_update(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        caller, its = self._caller(metadata), role(request.role, request.attribute)
        self.users.get(request.id)
        must(caller.role.manages(its), f"{caller.role} may not make somebody {its}")
        self.users.change(request.id, request.password, its)
        return {}

    def user_change_password(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        self.users.change(self._caller(metadata).id, request.password)
        return {}

    def reset_user_password(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        its = self._managed(request.id, metadata)
        password = secrets.token_hex(16)
        self.users.change(its.id, password)
        return {"password": password}

    def delete_user(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        self.users.delete(self._managed(request.id, metadata).id)
        return {}

    def list_users(self, request: Any, metadata: Mapping[str, str]) -> dict[str, object]:
        caller = self._caller(metadata)
        if caller.role.admin:
            return {"ids": self.users.ids()}
        manages = caller.role.name == "DataOwnerManager" and caller.role.attribute == request.id
        must(manages, f"{caller.role} may not list the users of {request.id}")
        return {"ids": self.users.ids(request.id)}

    def _caller(self, metadata: Mapping[str, str]) -> User:
        return self.users.holder(metadata.get("id"), metadata.get("token"))

    def _managed(self, id_: str, metadata: Mapping[str, str]) -> User:
        """A user, if the caller manages it."""
        caller, its = self._caller(metadata), self.users.get(id_)
        must(caller.role.manages(its.role), f"{caller.role} does not manage {its.role}")
        return its
