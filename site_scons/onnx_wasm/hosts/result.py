"""What comes of a run of a module, whatever its platform."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onnx_wasm.errors import Problem


@dataclass(frozen=True)
class Taken:
    """What a run took.

    Args:
        instantiate: Seconds until the module's instance was there.
        run: Seconds of its function, files read and written included.
        memory: Bytes of linear memory that it had at its end.
        fuel: Units of wasmtime's fuel, about one for each instruction, from its start to its end; None if they were not
            counted.
    """

    instantiate: float
    run: float
    memory: int
    fuel: int | None = None


@dataclass(frozen=True)
class Result:
    """What came of a run.

    Args:
        value: What the module returned; None if it did not return.
        trap: Why it did not return, in the platform's words; empty if it did.
        file_errors: Files among the arguments that the module asked for and could not have.
        printed: What it wrote to its standard output.
        timed_out: Whether it did not return because its time was over.
        taken: What it took; None if it did not return.
    """

    value: int | None
    trap: str = ""
    file_errors: tuple[Problem, ...] = ()
    printed: str = ""
    timed_out: bool = False
    taken: Taken | None = None

    def __str__(self) -> str:
        """The result as Teaclave gives a task's: the value in decimal, or the trap."""
        return self.trap if self.value is None else str(self.value)


class Host(Protocol):
    """Runs a module that it has loaded. ``compiled_in`` is how many seconds its compiler took."""

    compiled_in: float

    def run(self, arguments: Mapping[str, str], *, timeout: float | None = None) -> Result:
        """Runs the module on files.

        Args:
            arguments: The path that goes with each key.
            timeout: Seconds after which the run ends; None for no limit.

        Raises:
            BuildError: The module could not be started with these arguments, or an output could not be put in place.
        """
        ...
