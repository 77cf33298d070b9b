"""``env.WasmWorkspace``: the manifests of a whole workspace, of which only those become nodes that a build needs."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from SCons.Environment import Base as Environment
from SCons.Node.Alias import Alias
from SCons.Script import GetLaunchDir, GetOption
from SCons.Util import flatten

from onnx_wasm import manifest
from onnx_wasm.rules import wasm_model, workspace


def wasm_workspace(env: Environment, manifests: object, on_demand: object = ()) -> None:
    """Declares the models of a workspace, as ``WasmModel`` does, but only those that the command line's targets need.

    Args:
        env: The environment.
        manifests: Where the manifests are, ``models/*/*.toml``: a pattern or several, from the folder of the file that
            makes the call.
        on_demand: The same for models that are not part of ``all``: they are declared only if a target names them.

    A target that tells which model it belongs to - ``mnist.wasm``, ``mnist.web.profile``, ``build/web/mnist/mnist.o`` -
    needs just that one: whatever is wrong with another manifest is no matter to it. For ``all``, a folder, or anything
    else that may need any model, all are declared, and all that is wrong is told. An alias that was declared before
    this call needs what it is made of.
    """
    own, others = _paths(env, manifests), _paths(env, on_demand)
    named = _by_name(env, [*own, *others])
    asked = _Asked.of(env, named)
    whole = {path for name in asked.models for path in named[name]}
    if GetOption("help"):
        whole.update(others)
    if asked.everything:
        whole.update(own)
    declared = [path for path in own if asked.modules or path in whole] + [path for path in others if path in whole]
    wasm_model.declare(env, [Path(path) for path in declared], {Path(path) for path in declared if path not in whole})


@dataclass(frozen=True)
class _Asked:
    """What targets ask of a workspace.

    Args:
        models: The names of the models that they name.
        modules: Whether they need the modules of all models.
        everything: Whether they may need anything that could be declared.
    """

    models: frozenset[str] = frozenset()
    modules: bool = False
    everything: bool = False

    @classmethod
    def of(cls, env: Environment, known: Iterable[str]) -> _Asked:
        """What the targets of this run ask."""
        targets = workspace.of(env).targets
        if targets is None or GetOption("help") or GetOption("interactive"):
            return cls(modules=True, everything=True)
        models, modules, everything = set[str](), False, False
        for target in _without_aliases(env, targets, known):
            found = _named(env, target, known)
            models |= found
            modules |= not found
            everything |= not found and target != "all"
        return cls(frozenset(models), modules, everything)


def _without_aliases(env: Environment, targets: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """The targets, and in place of an alias that is declared already the aliases that it is made of.

    Its other sources are nodes that do not need to be declared any more.
    """
    for target in targets:
        alias = env.ans.lookup(target)
        if alias is None or target in ("all", "test") or _named(env, target, known):
            yield target
        else:
            children = (it.name for it in (*alias.sources, *alias.depends) if isinstance(it, Alias))
            yield from _without_aliases(env, children, known)


def _named(env: Environment, target: str, known: Iterable[str]) -> set[str]:
    """The models that a target belongs to: of two whose names begin alike, ``a`` and ``a.b``, perhaps both."""
    names = {target[:at] for at, letter in enumerate(target) if letter == "."}
    build = env.Dir("$ONNX_WASM_BUILD").get_abspath()
    for folder in (env.fs.Top.get_abspath(), GetLaunchDir()):
        platform, name, *_ = (*Path(os.path.relpath(Path(folder, target.removeprefix("#")), build)).parts, "", "")
        names |= {name} if platform != ".." else set()
    return names.intersection(known)


def _by_name(env: Environment, paths: Iterable[str]) -> Mapping[str, list[str]]:
    """The manifests by the names of their models and variants: one each, or something is wrong."""
    facts = workspace.of(env).manifest_facts
    found: dict[str, list[str]] = {}
    top = env.fs.Top.get_abspath()
    for path in paths:
        for name in facts.recall("names", Path(top, path), _names).split():
            found.setdefault(name, []).append(path)
    return found


def _names(path: Path) -> str:
    return " ".join(manifest.names(path))


def _paths(env: Environment, patterns: object) -> list[str]:
    """The files that patterns match, each from the top, in the order of their names."""
    top = env.fs.Top.get_abspath()
    here = os.path.relpath(env.Dir(".").srcnode().get_abspath(), top)
    # There may be thousands, for which pathlib is slow.
    found = (os.path.normpath(f"{here}/{pattern}") for pattern in flatten([patterns]))
    return sorted({path for pattern in found for path in glob.glob(pattern, root_dir=top)})  # noqa: PTH207
