"""SCons's CacheDir, kept in a workspace's own cache: by whole actions, whose outputs come and go together."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import SCons.Action
import SCons.CacheDir
from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Node.FS import File

from onnx_wasm.strategies.cache.cache import Cache
from onnx_wasm.strategies.cache.outputs import remove_others

_NAMESPACE = "onnx-wasm 1"
"""Changes if results of the same actions were no longer to be found."""


def use(env: Environment, cache: Cache) -> None:
    """Has the steps that are declared in an environment use a cache; actions of others do not.

    Args:
        env: The environment.
        cache: The cache.
    """

    class WorkspaceCacheDir(_CacheDir):
        """SCons makes one for each environment; all of them use the same cache."""

        kept_in = cache

    env.CacheDir("onnx-wasm", WorkspaceCacheDir)


class _CacheDir(SCons.CacheDir.CacheDir):  # type: ignore[misc] # SCons has no types
    kept_in: Cache

    def __init__(self, path: str) -> None:
        super().__init__(None)  # with a path it would make a folder
        self.path = path
        self._brought: set[Node] = set()

    def cachepath(self, _node: Node) -> tuple[None, None]:
        """No file of a cache is a target's: SCons need not look for one."""
        return None, None

    def retrieve(self, node: Node) -> bool:
        """Brings all targets of a node's action, when SCons asks for the first of them.

        Called by several threads, as SCons's own.
        """
        if node in self._brought:
            self._brought.discard(node)
            return True
        targets = _targets(node)
        if not self._used_for(targets) or node is not targets[0]:
            return False
        if not self.kept_in.retrieve(_key(node), _outputs(targets)):
            return False
        if node.get_build_env()["ONNX_WASM_STEP"].folder:
            remove_others(Path(node.dir.get_abspath()), _outputs(targets).values())
        self._brought.update(targets[1:])
        if SCons.CacheDir.cache_show:
            node.build(presub=0, execute=0)
        else:
            _TOLD([node], [], node.get_build_env())
        return True

    def push(self, node: Node) -> None:
        """Keeps all targets of a node's action, which has been run, when SCons gives the first of them."""
        if node is _targets(node)[0] and self._used_for(_targets(node)):
            self.kept_in.count_built()
            self._store(node)

    def push_if_forced(self, node: Node) -> None:
        """With ``--cache-force``, keeps all targets of an action that need not be run."""
        if SCons.CacheDir.cache_force and node is _targets(node)[0] and self._used_for(_targets(node)):
            self._store(node)

    def _store(self, node: Node) -> None:
        if not self.is_readonly():
            self.kept_in.store(_key(node), _outputs(_targets(node)))

    def _used_for(self, targets: Sequence[Node]) -> bool:
        """Whether results of an action may be kept: of steps that declare all that they read, in the checkout."""
        step = targets[0].get_build_env().get("ONNX_WASM_STEP")
        return (
            self.is_enabled()
            and bool(SCons.Action.execute_actions)  # not with -n
            and step is not None
            and not step.outside
            and all(isinstance(it, File) and not it.nocache for it in targets)
            and not any(os.path.isabs(it.get_internal_path()) for it in targets)  # noqa: PTH117 - a string of SCons's
        )


def _targets(node: Node) -> Sequence[Node]:
    targets: Sequence[Node] = node.get_executor().get_all_targets()
    return targets


def _outputs(targets: Sequence[Node]) -> Mapping[str, Path]:
    return {it.get_internal_path(): Path(it.get_abspath()) for it in targets}


def _key(node: Node) -> str:
    """What names an action: SCons's signature of its first target.

    It is made of the contents of all that the target depends on, of the words that are signed, and of the target's path
    from the top.
    """
    return hashlib.sha256(f"{_NAMESPACE}\0{node.get_cachedir_bsig()}".encode()).hexdigest()


def _nothing(**_kwargs: object) -> int:
    return 0


def _retrieved(target: Sequence[Node], source: Sequence[Node], env: Environment) -> str:  # noqa: ARG001 - SCons's
    return f"Retrieved `{target[0].get_internal_path()}' from cache"


_TOLD = SCons.Action.Action(_nothing, _retrieved)
"""Does nothing, and says what SCons says when a target comes from its cache."""
