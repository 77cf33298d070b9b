"""How every failure is told: a list of problems, each with a place, a message and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Args:
        where: The place, as the user knows it: ``models/mnist/mnist.toml:12``, or a manifest and a step.
        message: What is wrong, one sentence without a full stop.
        hint: What to do about it; empty if the message says it already.
        key: The key of the manifest that is to blame, as a path (``("input", "Input3", "shape")``), for those who know
            the key but not the line; whoever has the manifest at hand turns it into ``where``.
    """

    where: str
    message: str
    hint: str = ""
    key: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}"
        return f"{text}\n    {self.hint}" if self.hint else text


class BuildError(Exception):
    """A failure that is the user's to mend: all problems that were found, in the order of their places."""

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class LimitMissedError(BuildError):
    """All that was asked for was done, and what was measured is not good enough."""

    status = 1
    """What a process that ends with it exits with."""
