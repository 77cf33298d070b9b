"""Users, their roles and passwords, and the tokens that stand for them.

Who may do what is that of ``services/authentication`` and ``services/access_control`` of apache/incubator-teaclave
(branch legacy).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from onnx_wasm.teaclave.refusal import Code, Refusal, denied

FIRST_USER, FIRST_PASSWORD = "admin", "teaclave"
"""Whom a new Teaclave knows."""

TOKEN_LIFE = 24 * 60 * 60
"""Seconds that a token is good for."""

_ROUNDS = 100_000
_MOST_USERS = 10_000
_MOST_TOKENS = 100_000

_OF_FUNCTIONS = {"RegisterFunction", "UpdateFunction", "DeleteFunction", "DisableFunction"}
_OF_DATA = {
    *("RegisterInputFile", "RegisterOutputFile", "UpdateInputFile", "UpdateOutputFile", "RegisterFusionOutput"),
    *("RegisterInputFromOutput", "GetOutputFile", "GetInputFile"),
    *("CreateTask", "GetTask", "AssignData", "ApproveTask", "InvokeTask", "CancelTask"),
}
_OF_BOTH = {"GetFunction", "ListFunctions", "GetFunctionUsageStats"}
_ALLOWED = {
    "FunctionOwner": _OF_FUNCTIONS | _OF_BOTH,
    "DataOwnerManager": _OF_DATA | _OF_BOTH,
    "DataOwner": _OF_DATA | _OF_BOTH,
}
"""The calls of the frontend that each role may make; a platform's admin makes all of them."""


@dataclass(frozen=True)
class Role:
    """What somebody may do.

    Args:
        name: ``PlatformAdmin``, ``FunctionOwner``, ``DataOwnerManager`` or ``DataOwner``.
        attribute: For the last two: which group's data.
    """

    name: str
    attribute: str = ""

    @property
    def admin(self) -> bool:
        return self.name == "PlatformAdmin"

    def may_call(self, method: str) -> bool:
        """Whether a call of the frontend is for this role."""
        return self.admin or method in _ALLOWED[self.name]

    def may_make(self, other: Role) -> bool:
        """Whether it may register users of another role."""
        return self.manages(other) or (self.name == "FunctionOwner" and other.name == "DataOwnerManager")

    def manages(self, other: Role) -> bool:
        """Whether it may change, list and delete users of another role."""
        return self.admin or (self.name == "DataOwnerManager" and other == Role("DataOwner", self.attribute))

    def __str__(self) -> str:
        """As Teaclave's logs have it."""
        return f"{self.name}-{self.attribute}" if self.name.startswith("DataOwner") else self.name


def role(name: str, attribute: str) -> Role:
    """A role as a request names it.

    Raises:
        Refusal: There is no such role.
    """
    if name != "PlatformAdmin" and name not in _ALLOWED:
        known = ", ".join(["PlatformAdmin", *_ALLOWED])
        raise _unauthenticated(f'invalid role: "{name}" is none of {known}')
    return Role(name, attribute if name.startswith("DataOwner") else "")


@dataclass(frozen=True)
class User:
    """Somebody who can log in."""

    id: str
    role: Role
    salt: bytes
    digest: bytes

    @classmethod
    def new(cls, id_: str, password: str, role: Role) -> User:
        salt = secrets.token_bytes(16)
        return cls(id_, role, salt, _digest(password, salt))

    def knows(self, password: str) -> bool:
        return hmac.compare_digest(self.digest, _digest(password, self.salt))


class Users:
    """All users, and the tokens of those who are logged in.

    Args:
        token_life: Seconds that a token is good for.
        clock: Gives the time, in seconds.
    """

    def __init__(self, token_life: float = TOKEN_LIFE, clock: Callable[[], float] = time.monotonic) -> None:
        self._token_life = token_life
        self._clock = clock
        self._users = {FIRST_USER: User.new(FIRST_USER, FIRST_PASSWORD, Role("PlatformAdmin"))}
        self._tokens: dict[str, tuple[str, float]] = {}

    def log_in(self, id_: str, password: str) -> str:
        """Gives somebody a token.

        Raises:
            Refusal: There is no such user, or the password is another.
        """
        if not id_ or not password:
            raise _unauthenticated("authentication failed: id or password is empty")
        user = self._users.get(id_)
        if user is None:
            raise _unauthenticated(f'authentication failed: there is no user "{id_}"')
        if not user.knows(password):
            raise _unauthenticated(f'authentication failed: this is not the password of "{id_}"')
        self._forget_tokens()
        token = secrets.token_urlsafe(32)
        self._tokens[token] = (id_, self._clock() + self._token_life)
        return token

    def holder(self, id_: str | None, token: str | None) -> User:
        """Tells who makes a request, from what it carries.

        Raises:
            Refusal: It carries no id or token, or a token that is another's, or over.
        """
        if id_ is None:
            raise _unauthenticated("missing user id: log in, and send the metadata id and token")
        if token is None:
            raise _unauthenticated("missing token: log in, and send the metadata id and token")
        owner, end = self._tokens.get(token, ("", 0.0))
        if owner != id_:
            raise _unauthenticated(f'authentication failed: this is not a token of "{id_}"')
        if self._clock() >= end:
            raise _unauthenticated(f'authentication failed: the token of "{id_}" has expired; log in again')
        if id_ not in self._users:
            raise _unauthenticated(f'authentication failed: there is no user "{id_}" any more')
        return self._users[id_]

    def get(self, id_: str) -> User:
        """Gives a user.

        Raises:
            Refusal: There is none.
        """
        if id_ not in self._users:
            raise _unauthenticated(f'permission denied: there is no user "{id_}"')
        return self._users[id_]

    def add(self, id_: str, password: str, role: Role) -> None:
        """Adds a user.

        Raises:
            Refusal: The id is empty or taken, or there are too many users.
        """
        if not id_:
            raise _unauthenticated("invalid user id: it is empty")
        if id_ in self._users:
            raise _unauthenticated(f'user id exist: "{id_}"')
        if len(self._users) >= _MOST_USERS:
            raise Refusal(Code.RESOURCE_EXHAUSTED, f"there are {_MOST_USERS} users already")
        self._users[id_] = User.new(id_, password, role)

    def change(self, id_: str, password: str, role: Role | None = None) -> None:
        """Gives a user that is there another password, and another role if one is given."""
        if not password:
            raise _unauthenticated("authentication failed: the password is empty")
        self._users[id_] = User.new(id_, password, role or self._users[id_].role)

    def delete(self, id_: str) -> None:
        """Deletes a user that is there; what tokens it has are worth nothing."""
        del self._users[id_]

    def ids(self, attribute: str | None = None) -> list[str]:
        """The ids of all users, or of the data owners with an attribute."""
        wanted = Role("DataOwner", attribute or "")
        return [id_ for id_, user in self._users.items() if attribute is None or user.role == wanted]

    def _forget_tokens(self) -> None:
        """Drops what is over, and the oldest if there are too many."""
        now = self._clock()
        self._tokens = {token: it for token, it in self._tokens.items() if it[1] > now}
        while len(self._tokens) >= _MOST_TOKENS:
            del self._tokens[next(iter(self._tokens))]


def must(allowed: bool, reason: str) -> None:
    """Refuses what is not allowed, as the authentication service does."""
    if not allowed:
        raise _unauthenticated(f"permission denied: {reason}")


def check_call(user: User, method: str) -> None:
    """Refuses a call of the frontend that is not for a user's role."""
    if not user.role.may_call(method):
        raise denied(f"{user.role} may not call {method}")


def _unauthenticated(message: str) -> Refusal:
    """The authentication service answers every failure with this code."""
    return Refusal(Code.UNAUTHENTICATED, message)


def _digest(password: str, salt: bytes) -> bytes:
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ROUNDS)
