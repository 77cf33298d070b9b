"""How a service says no."""

from __future__ import annotations

from enum import Enum


class Code(Enum):
    """Why, as gRPC's status codes name it; the ones that Teaclave uses."""

    INVALID_ARGUMENT = "INVALID_ARGUMENT"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    RESOURCE_EXHAUSTED = "RESOURCE_EXHAUSTED"
    UNIMPLEMENTED = "UNIMPLEMENTED"
    INTERNAL = "INTERNAL"
    UNKNOWN = "UNKNOWN"


class Refusal(Exception):  # noqa: N818 - it is no error of the service
    """A request that is not carried out.

    Args:
        code: The status that the client gets.
        message: What it is told: Teaclave's words, then what is wrong.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def denied(reason: str) -> Refusal:
    """A request of somebody who may not ask for this."""
    return Refusal(Code.PERMISSION_DENIED, f"permission denied: {reason}")


def invalid(message: str) -> Refusal:
    """A request that makes no sense."""
    return Refusal(Code.INVALID_ARGUMENT, message)
