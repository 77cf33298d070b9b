"""``env.WasmModel``: a manifest, turned into the whole chain of steps."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import NamedTuple

from SCons.Environment import Base as Environment
from SCons.Node import Node
from SCons.Util import flatten

from onnx_wasm import manifest
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.manifest import Manifest
from onnx_wasm.platforms import PLATFORMS
from onnx_wasm.rules import release_profile, run, tune, wasm_bench, workspace

_OBJECTS_BETWEEN_LOOKS = 2_000_000


def wasm_model(env: Environment, manifests: object) -> list[Node]:
    """Declares models: ``<model>.wasm``, ``<model>.<platform>.wasm``, ``<model>.test``, ``.verify`` and ``.run``.

    One with the platform ``web`` has ``<model>.web`` too, one with ``teaclave`` ``<model>.teaclave``; ``<model>.tune``
    looks for how kernels are computed quickest.

    Args:
        env: The environment.
        manifests: The manifest of a model, or several: paths or nodes, as SCons takes sources.

    Returns:
        The modules: one for each manifest and each of its variants, that of its first platform.

    Whatever is wrong in any of the manifests is told at once; SCons then ends with status 2.
    """
    nodes = [env.arg2nodes(each, env.fs.File)[0] for each in flatten([manifests])]
    return declare(env, [Path(node.srcnode().path) for node in nodes])


def declare(env: Environment, paths: Iterable[Path], modules_only: AbstractSet[Path] = frozenset()) -> list[Node]:
    """Reads manifests and declares their models.

    Args:
        env: The environment.
        paths: The manifests, from the top.
        modules_only: Those of which nothing is wanted but what is part of ``all``.

    Returns:
        As ``wasm_model``.
    """
    try:
        # Manifests and what they name are told and built from the top, also where a subdirectory's SConscript is read.
        with contextlib.chdir(env.fs.Top.get_abspath()), _lasting():
            first = not workspace.of(env).models
            models = _load(env, paths)
            env.Help(_help(models, first), append=True, local_only=True)
            declared = [_declare(env, model, whole=model.path not in modules_only) for model in models]
            # All at once: with each call SCons looks for what is new among all that the alias has already.
            env.Alias("all", [node for it in declared for node in (*it.modules, *it.packages)])
            env.Alias("test", [node for it in declared for node in it.reports])
            workspace.of(env).modules.extend(node for it in declared for node in it.modules)
            return [it.modules[0] for it in declared]
    except BuildError as error:
        workspace.end(env, error)


@contextlib.contextmanager
def _lasting() -> Iterator[None]:
    """Rests the garbage collector: what is declared lasts, and to look through it time and again is slow.

    So does most of what SCons notes of each node later, so the collector looks seldom from then on.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_OBJECTS_BETWEEN_LOOKS)
        gc.enable()


def _help(models: Iterable[Manifest], first: bool) -> str:
    """What ``scons --help`` says of the models."""
    head = """
Targets of each model, and what they do; "all" builds every module, "test" runs every test:
  MODEL.wasm              build the module, for the first of its platforms
  MODEL.PLATFORM.wasm     build it for another
  MODEL.web               build a folder for JavaScript around that for "web", with a page to try it
  MODEL.teaclave          build a folder around that for "teaclave", with a client that runs it there
  MODEL.test              run the tests of its manifest
  MODEL.verify            hold it against ONNX's own definition of it
  MODEL.run KEY=FILE...   run it on files
  MODEL.profile           show where its time goes, kernel by kernel; MODEL.PLATFORM.profile for another platform
  MODEL.bench             measure its time, memory and size; against=OLD.json [limit=PERCENT] compares
  MODEL.size              tell what each byte of it is for
  MODEL.tune [budget=S]   look for how its kernels are computed quickest; MODEL.PLATFORM.tune for another platform
  MODEL.release           make what is handed out: modules, SBOM, provenance, sums
  MODEL.verify-release    check that, and rebuild it from its sources
In place of a build:
  query EXPRESSION        tell what is made from what: "deps(MODEL.wasm)", "rdeps(FILE)", "actions(FILE)"
  affected --since REV    name the targets that the changes since a revision touch
Models:
"""
    lines = (f"  {it.model.target:<22}  {it.path}  ({', '.join(it.compile.platforms)})\n" for it in models)
    return (head if first else "") + "".join(lines)


def _load(env: Environment, paths: Iterable[Path]) -> list[Manifest]:
    """Reads manifests and checks what one alone cannot know."""
    models: list[Manifest] = []
    problems: list[Problem] = []
    taken = workspace.of(env).models
    for path in paths:
        try:
            model = manifest.load(path)
        except BuildError as error:
            problems += error.problems
            continue
        problems += _missing_files(model)
        for each in model.every():
            problems += _taken_names(each, taken)
            taken.setdefault(each.model.target, each)
            models.append(each)
    if problems:
        raise BuildError(problems)
    return models


def _taken_names(model: Manifest, taken: dict[str, Manifest]) -> list[Problem]:
    other = taken.get(model.model.target)
    if other is None:
        return []
    message = f'"{model.model.target}" is the name of another model too: {other.where("model", "name")}'
    return [Problem(model.where("model", "name"), message, "every model of a workspace needs its own name")]


def _missing_files(model: Manifest) -> list[Problem]:
    problems: list[Problem] = []
    files: list[tuple[tuple[str | int, ...], str]] = [(("model", "path"), model.model.path)] if model.model.path else []
    files += [(("compile", "tuning", index), file) for index, file in enumerate(model.compile.tuning)]
    for index, test in enumerate(model.tests):
        files += [(("test", index, "inputs", key), file) for key, file in test.inputs.items()]
        files += [(("test", index, "outputs", key), file) for key, file in test.outputs.items()]
    for key, file in files:
        path = model.path.parent / file
        if not path.is_file():
            problems.append(Problem(model.where(*key), f"there is no file {path}", "paths start at the manifest"))
    return problems


class _Declared(NamedTuple):
    """What a model adds to targets of all models.

    Args:
        modules: Its modules, that of its first platform first.
        packages: The folder for the web, if it has one.
        reports: Those of its tests and its verification.
    """

    modules: list[Node]
    packages: list[Node]
    reports: list[Node]


def _declare(env: Environment, model: Manifest, whole: bool) -> _Declared:
    """Declares what is part of ``all``; as a whole, the rest of the model's targets too."""
    chains = {platform: _chains(env, model, platform) for platform in model.compile.platforms}
    modules = {platform: plain.module for platform, (plain, *_) in chains.items()}
    first = modules[model.compile.platforms[0]]
    package = _package(env, model, *(chain.module for chain in chains["web"])) if "web" in chains else []
    tested: list[Node] = []
    if whole:
        name = model.model.target
        env.Alias(f"{name}.wasm", first)
        for platform, module in modules.items():
            env.Alias(f"{name}.{platform}.wasm", module)
            for chain in chains[platform]:
                _declare_profile(env, model, platform, chain)
                _declare_bench(env, model, platform, chain, package if platform == "web" else [])
                _declare_size(env, model, platform, chain)
            _declare_tuning(env, model, platform, chains[platform][0])
        for kind in ("profile", "bench", "size", "tune"):
            env.AlwaysBuild(env.Alias(f"{name}.{kind}", env.Alias(f"{name}.{model.compile.platforms[0]}.{kind}")))
        if package:
            env.Alias(f"{name}.web", package)
        if "teaclave" in modules:
            env.Alias(f"{name}.teaclave", _bundle(env, model, modules["teaclave"]))
        reports = [_reports(env, model, platform, module) for platform, module in modules.items()]
        for kind in _REPORTS:
            made = [report[kind] for report in reports if kind in report]
            if made:
                env.Alias(f"{name}.{kind}", made)
                tested += made
        params = [(model.params.argument, node.path) for node in _params(model, first)]
        env.AlwaysBuild(env.Alias(f"{name}.run", first, run.action(first, params)))
        if release_profile.asked(model, "release"):
            _declare_release(env, model)
        if release_profile.asked(model, "verify-release"):
            release_profile.declare_verification(env, model)
    return _Declared([*modules.values()], package, tested)


class _Chain(NamedTuple):
    """What the steps of a model on a platform make.

    Args:
        compiled: What ``WasmObject`` makes.
        wrapper: The wrapper's library.
        module: The module.
        features: The optional features of the platform that it uses.
        mark: What its files' names have after the model's, if it is not the platform's only module.
    """

    compiled: list[Node]
    wrapper: Node
    module: Node
    features: list[str]
    mark: str


def _chains(env: Environment, model: Manifest, platform: str, linked: str = "") -> list[_Chain]:
    """The steps to a platform's module; where what loads it can choose, then those to one with optional features.

    ``linked`` is a folder for the modules below that of all else.
    """
    its = PLATFORMS[platform]
    features = [it for it in model.compile.target_features if it in its.optional_features]
    if not its.detects_features or not features:
        return [_chain(env, model, platform, features, "", linked)]
    mark = f".{'.'.join(features)}"
    return [_chain(env, model, platform, [], "", linked), _chain(env, model, platform, features, mark, linked)]


def _chain(env: Environment, model: Manifest, platform: str, features: list[str], mark: str, linked: str) -> _Chain:
    """The steps from the ONNX file to a module, each with the slice of the manifest that it reads."""
    folder = env.Dir(f"$ONNX_WASM_BUILD/{platform}/{model.model.target}")
    name = f"{model.model.target}{mark}"
    compile_ = model.compile
    common = {"MANIFEST": model.path}
    compiled_for = {"WASM_PLATFORM": platform, "TARGET_FEATURES": features, **common}
    params = _params_argument(model)
    declared = {
        "inputs": [_without(it, "shape", "range", "value") for it in model.inputs if it.value is None],
        "outputs": [_without(it, "tolerance") for it in model.outputs],
    }
    compiled = env.WasmObject(
        folder.File(f"{name}.o"),
        [*_ir(env, model, folder), *(_file(env, model.path.parent / it) for it in compile_.tuning)],
        OPT_LEVEL=compile_.opt_level,
        SHARED_WEIGHTS=bool(mark and params),
        EXECUTOR=compile_.executor,
        **compiled_for,
    )
    library = env.ModelLibrary(
        folder.File(f"lib{name}.a"),
        compiled,
        INTERFACE=declared,
        WASM_PLATFORM=platform,
        EXECUTOR=compile_.executor,
        PARAMS_ARGUMENT=params,
        **common,
    )
    wrapper = _wrapper(env, model, platform)
    module = env.WasmModule(
        folder.File(f"{linked}{name}.wasm"), [library[0], wrapper], PARAMS_ARGUMENT=params, **compiled_for
    )
    return _Chain(compiled, wrapper, module[0], features, mark)


def _declare_profile(env: Environment, model: Manifest, platform: str, chain: _Chain) -> None:
    name = model.model.target
    report = env.WasmProfile(
        chain.compiled[0].dir.File(f"{name}{chain.mark}.profile.json"),
        [*chain.compiled, chain.wrapper],
        WASM_PLATFORM=platform,
        TARGET_FEATURES=chain.features,
        MANIFEST=model.path,
    )
    env.AlwaysBuild(env.Alias(f"{name}.{platform}{chain.mark}.profile", report))


def _declare_bench(env: Environment, model: Manifest, platform: str, chain: _Chain, package: list[Node]) -> None:
    name, folder = model.model.target, chain.module.dir
    report = folder.File(f"{name}{chain.mark}.bench.json")
    its = [it for it in package if it.name in ("package.json", f"{name}.js") and it.dir is package[0].dir]
    bench = env.WasmBench(
        report,
        [chain.module, folder.File(f"{name}{chain.mark}.interface.json"), *_params(model, chain.module), *its],
        WASM_PLATFORM=platform,
        TARGET_FEATURES=chain.features,
        PARAMS_ARGUMENT=_params_argument(model),
        RANGES=_ranges(model),
        MANIFEST=model.path,
        **wasm_bench.asked(report),
    )
    env.AlwaysBuild(env.Alias(f"{name}.{platform}{chain.mark}.bench", bench))


def _declare_size(env: Environment, model: Manifest, platform: str, chain: _Chain) -> None:
    name, folder = f"{model.model.target}{chain.mark}", chain.module.dir
    report = env.WasmSize(
        folder.File(f"{name}.size.json"),
        [chain.module, folder.File(f"{name}.symbols.json"), *([] if _params_argument(model) else chain.compiled[2:])],
        WASM_PLATFORM=platform,
        MANIFEST=model.path,
    )
    env.AlwaysBuild(env.Alias(f"{model.model.target}.{platform}{chain.mark}.size", report))


def _declare_tuning(env: Environment, model: Manifest, platform: str, chain: _Chain) -> None:
    compiled = [*_ir(env, model, chain.compiled[0].dir), chain.wrapper]
    target = f"{model.model.target}.{platform}.tune"
    env.AlwaysBuild(env.Alias(target, compiled, tune.action(env, model, platform, compiled)))


def _ir(env: Environment, model: Manifest, folder: Node) -> list[Node]:
    """The model as TVM IR, the same for all modules of a platform, and its weights."""
    name = model.model.target
    file = folder.File(f"{name}.ir.json")
    if file.has_builder():
        return [file, folder.File(f"{name}.weights.safetensors")]
    return list(
        env.TvmIr(
            file,
            _onnx_file(env, model),
            FREEZE=_frozen(model),
            SHA256=model.model.sha256 or "",
            MANIFEST=model.path,
        )
    )


def _params_argument(model: Manifest) -> str:
    """The argument that names the file of the weights; empty if the module holds them."""
    return model.params.argument if model.params.mode == "file" else ""


def _params(model: Manifest, module: Node) -> list[Node]:
    """The file of the weights beside a module; none if the module holds them."""
    return [module.dir.File(f"{model.model.target}.params")] if model.params.mode == "file" else []


def _frozen(model: Manifest) -> dict[str, object]:
    """What the manifest says of what the ONNX file leaves open."""
    return {
        "shapes": {it.name: it.shape for it in model.inputs if it.shape is not None},
        "dimensions": model.dimensions,
        "values": {it.name: it.value for it in model.inputs if it.value is not None},
    }


def _ranges(model: Manifest) -> dict[str, object]:
    """Where inputs are drawn from, by name."""
    return {it.name: it.range for it in model.inputs if it.range is not None}


def _wrapper(env: Environment, model: Manifest, platform: str) -> Node:
    """The wrapper with just the features that the model needs; models that need the same share one."""
    features = [
        *([PLATFORMS[platform].images] if any(it.format == "image" for it in model.inputs) else []),
        *(["graph"] if model.compile.executor == "graph" else []),
        *(["params"] if model.params.mode == "file" else []),
    ]
    folder = "-".join(["wrapper", *features])
    library = env.File(f"$ONNX_WASM_BUILD/{platform}/{folder}/libwrapper.a")
    if not library.has_builder():
        env.RustWrapper(library, [], WASM_PLATFORM=platform, FEATURES=features)
    return library


def _package(env: Environment, model: Manifest, module: Node, *featured: Node) -> list[Node]:
    """The files of the folder for JavaScript."""
    name = model.model.target
    package: list[Node] = env.WebPackage(
        module.dir.File(f"{name}.web/package.json"),
        [module, module.dir.File(f"{name}.interface.json"), *_params(model, module), *featured],
        LICENSE=model.model.license or "",
        MANIFEST=model.path,
    )
    return package


def _bundle(env: Environment, model: Manifest, module: Node) -> list[Node]:
    """The files of the folder for Teaclave."""
    bundle: list[Node] = env.TeaclaveBundle(
        module.dir.File(f"{model.model.target}.teaclave/function.json"),
        [module, module.dir.File(f"{model.model.target}.interface.json"), *_params(model, module)],
        MANIFEST=model.path,
    )
    return bundle


_REPORTS = ("test", "verify")


def _reports(env: Environment, model: Manifest, platform: str, module: Node) -> dict[str, Node]:
    """What is said of a module that there is a host for: by the manifest's tests, if there are any; by ONNX."""
    if not PLATFORMS[platform].host:
        return {}
    tests = {"test": _test(env, model, module)} if model.own_tests else {}
    return {**tests, "verify": _verification(env, model, module)}


def _test(env: Environment, model: Manifest, module: Node) -> Node:
    folder = model.path.parent
    files = sorted({file for _, test in model.own_tests for file in (*test.inputs.values(), *test.outputs.values())})
    return env.WasmTest(
        module.dir.File(f"{model.model.target}.test.json"),
        [module, *_params(model, module), *(_file(env, folder / file) for file in files)],
        TESTS=[{**dataclasses.asdict(it), "index": at} for at, it in model.own_tests],
        DIRECTORY=folder,
        PARAMS_ARGUMENT=_params_argument(model),
        MANIFEST=model.path,
    )[0]


def _verification(env: Environment, model: Manifest, module: Node) -> Node:
    name = model.model.target
    how = {
        **dataclasses.asdict(model.verify),
        **_frozen(model),
        "ranges": _ranges(model),
        "tolerances": {it.name: it.tolerance for it in model.outputs if it.tolerance is not None},
        "tests": [{"name": it.name, "inputs": it.inputs, "index": at} for at, it in model.own_tests],
        "directory": str(model.path.parent),
    }
    files = sorted({file for _, test in model.own_tests for file in test.inputs.values()})
    return env.WasmVerify(
        module.dir.File(f"{name}.verify.json"),
        [
            *(module, module.dir.File(f"{name}.interface.json"), _onnx_file(env, model)),
            *_params(model, module),
            *(_file(env, model.path.parent / file) for file in files),
        ],
        PARAMS_ARGUMENT=_params_argument(model),
        VERIFY=how,
        MANIFEST=model.path,
    )[0]


def _declare_release(env: Environment, model: Manifest) -> None:
    """The chain once more, in a folder of its own: nothing of another build gets into what is handed out."""
    source = release_profile.check(env, model)
    own = env.Clone(ONNX_WASM_BUILD=f"{env['ONNX_WASM_BUILD']}/release")
    built, read = [], []
    for platform in model.compile.platforms:
        chains = _chains(own, model, platform, linked="linked/")
        name, folder = model.model.target, chains[0].compiled[0].dir
        module, *featured = (_optimized(own, model, platform, chain) for chain in chains)
        files = [module, folder.File(f"{name}.interface.json"), *_params(model, module), *featured]
        files += _package(own, model, module, *featured) if platform == "web" else []
        reports = _reports(own, model, platform, module)
        read += [*files, *reports.values()]
        built.append(
            {
                "platform": platform,
                "files": {folder.rel_path(file): file.path for file in files},
                **{kind: reports[kind].path if kind in reports else None for kind in _REPORTS},
            }
        )
    release_profile.declare(env, model, source, _onnx_file(own, model), built, read)


def _optimized(env: Environment, model: Manifest, platform: str, chain: _Chain) -> Node:
    return env.WasmOptimize(
        chain.compiled[0].dir.File(f"{model.model.target}{chain.mark}.wasm"),
        chain.module,
        WASM_PLATFORM=platform,
        TARGET_FEATURES=chain.features,
        PARAMS_ARGUMENT=_params_argument(model),
        MANIFEST=model.path,
    )[0]


def _onnx_file(env: Environment, model: Manifest) -> Node:
    """The ONNX file: the user's own, or one that is fetched, once for all platforms."""
    its = model.model
    if its.path is not None:
        return _file(env, model.path.parent / its.path)
    file = env.File(f"$ONNX_WASM_BUILD/fetched/{its.name}/{its.name}.onnx")
    if not file.has_builder():
        place = {"URL": its.url} if its.url is not None else {"PACKAGE": its.package, "FILE": its.file}
        env.ModelFetch(file, [], SHA256=its.sha256, DATA=its.data, MANIFEST=model.path, **place)
    return file


def _file(env: Environment, path: Path) -> Node:
    """The node of a file whose path starts at the top."""
    return env.fs.File(str(path), env.fs.Top)


def _without(table: manifest.Input | manifest.Output, *keys: str) -> dict[str, object]:
    return {name: value for name, value in dataclasses.asdict(table).items() if name not in keys}
