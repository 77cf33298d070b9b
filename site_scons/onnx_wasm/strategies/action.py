"""An action as strategies know it: one process, and all that it may read and write."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Action:
    """One run of an action.

    It runs in the top of the checkout, where relative paths start. What has an absolute path is outside of it.

    Args:
        rule: The rule that asks for it, ``TvmIr``.
        module: What Python runs, ``onnx_wasm.actions.tvm_ir``.
        arguments: The words that follow.
        inputs: The files that it reads; changed bytes in any of them would run it again.
        consulted: The files that it reads only to say where something is wrong; there may be none of that name.
        tools: Files and folders of the toolchain, without those of the system (``/usr``).
        toolchain: What names the exact versions of these tools: those of others may make other bytes.
        outputs: The files that it writes, of which there is at least one.
        folder: The folder that all outputs are in, if it is to be replaced as a whole; else empty.
        environment: All variables that it sees.
        memory: About how much it will need, in bytes.
        imports_tvm: Whether it imports TVM, which takes longer than most of what it does then.
        outside: Whether it reaches out of the build, to the network and the user's files: it cannot run but here.
    """

    rule: str
    module: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    consulted: tuple[str, ...]
    tools: tuple[str, ...]
    toolchain: tuple[str, ...]
    outputs: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    memory: int
    imports_tvm: bool = False
    outside: bool = False

    @property
    def command(self) -> tuple[str, ...]:
        """The words that start its process."""
        return (sys.executable, "-m", self.module, *self.arguments)


class Strategy(Protocol):
    """A way to run actions. Several threads use it at once."""

    def run(self, action: Action) -> int:
        """Runs an action, which prints to this process's stdout and stderr what it has to say.

        Returns:
            Its exit status: 0 if every output is there, whole; else no output was touched. Below 0 if killed.
        """

    def close(self) -> None:
        """Ends what was started; no action runs any more."""
