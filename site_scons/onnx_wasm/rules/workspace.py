"""What is one for a whole workspace: the toolchain, the models' names, and the last lines of a build."""

from __future__ import annotations

import hashlib
import sys
from functools import cached_property
from pathlib import Path

from SCons.Environment import Base as Environment
from SCons.Node import Node, executed, up_to_date
from SCons.Script import COMMAND_LINE_TARGETS, GetOption

from onnx_wasm import toolchain
from onnx_wasm.manifest import Manifest


class Workspace:
    """The state of one run of SCons: what ``env["ONNX_WASM"]`` holds, shared by all clones of an environment.

    Args:
        build: The build folder.
    """

    def __init__(self, build: Path) -> None:
        self.models: dict[str, Manifest] = {}
        self.modules: list[Node] = []
        self._build = build

    @cached_property
    def toolchain(self) -> toolchain.Toolchain:
        """The compilers in use, remembered under the build folder.

        Raises:
            BuildError: Some are missing; each with the command that installs it.
        """
        return toolchain.find(cache=self._build / "toolchain.json")

    def report(self) -> None:
        """Names every module that this run built, or was asked for and found up to date, with its size and hash."""
        if GetOption("no_exec") or GetOption("clean"):
            return
        asked = any(target == "all" or target.endswith(".wasm") for target in COMMAND_LINE_TARGETS)
        reported = (executed, up_to_date) if asked else (executed,)
        for module in self.modules:
            if module.get_state() in reported and module.exists():
                data = Path(module.get_path()).read_bytes()
                digest = hashlib.sha256(data).hexdigest()
                sys.stdout.write(f"{module.get_path()}  {len(data):,} bytes  sha256:{digest}\n")


def of(env: Environment) -> Workspace:
    """The workspace that an environment belongs to."""
    workspace: Workspace = env["ONNX_WASM"]
    return workspace
