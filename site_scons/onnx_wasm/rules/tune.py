"""``<model>.tune``: how each kernel of a model is computed quickest, as a file beside its manifest."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from SCons.Action import Action
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Script import ARGLIST

from onnx_wasm.manifest import Manifest
from onnx_wasm.platforms import PLATFORMS
from onnx_wasm.rules import step, workspace

SUFFIX = ".tuning.json"


def action(env: Environment, model: Manifest, platform: str, compiled: Sequence[Node]) -> Action:
    """What ``<model>.tune`` does, with the ``budget=SECONDS`` and ``again=1`` of the command line.

    Args:
        env: The environment.
        model: The model's manifest.
        platform: Where its module runs.
        compiled: The IR, the weights, and the wrapper's library.
    """

    def run(**_kwargs: object) -> int:
        folder, its = model.path.parent, model.compile
        # Of two modules that read one file of weights, the records of the one without features count.
        shared = PLATFORMS[platform].detects_features and model.params.mode == "file"
        features = () if shared else its.target_features
        files = zip(("--ir", "--weights", "--wrapper"), compiled, strict=True)
        words = [
            *(word for option, node in files for word in (option, node.get_path())),
            *("--platform", platform, "--opt-level", str(its.opt_level)),
            *(word for feature in features for word in ("--target-feature", feature)),
            *("--linker", json.dumps(workspace.of(env).toolchain.linker.command)),
            *(word for file in its.tuning for word in ("--tuning", str(folder / file))),
            *("--records", str(folder / f"{model.model.name}{SUFFIX}"), "--manifest", str(model.path)),
            *(f"{key}={value}" for key, value in ARGLIST),
        ]
        return step.start([sys.executable, "-m", "onnx_wasm.actions.tune", *words])

    return Action(run, cmdstr=None)
