"""``<model>.run KEY=FILE…``: the finished module, run on files."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from SCons.Action import Action
from SCons.Node import Node
from SCons.Script import ARGLIST, GetLaunchDir

from onnx_wasm.rules import step


def action(module: Node, params: Sequence[tuple[str, str]]) -> Action:
    """What ``<model>.run`` does: ``python -m onnx_wasm run`` on the module, with the ``KEY=FILE`` of the command line.

    Args:
        module: The module; files are looked up in the folder that SCons was started in.
        params: The argument and the file of the weights, if the module does not hold them; what the command line says
            of the argument goes before.
    """

    def run(**_kwargs: object) -> int:
        given = [(key, os.path.join(GetLaunchDir(), file)) for key, file in ARGLIST]  # noqa: PTH118 - as the shell does
        given += [(key, file) for key, file in params if key not in dict(given)]
        pairs = [f"{key}={file}" for key, file in given]
        return step.start([sys.executable, "-m", "onnx_wasm", "run", module.get_path(), *pairs])

    return Action(run, cmdstr=None)
