"""What can be wrong with a tier of a cache, or with what it holds."""

from __future__ import annotations


class UnavailableError(Exception):
    """A tier that cannot be used; why is in the message, without the tier's name."""


class DamagedError(Exception):
    """An entry that is not what a cache may hold; told in the message."""
