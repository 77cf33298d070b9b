"""The action of the rule ModelFetch: an ONNX file from an address or out of a package, and what its weights are in."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin

from onnx_wasm import external_data
from onnx_wasm.actions.common import main, written_whole
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.fetch import archives, https, packages, store
from onnx_wasm.fetch.packages import Package
from onnx_wasm.user_folder import user_folder

_SHOWN = 8


def run(arguments: argparse.Namespace) -> None:
    """Fetches what the user's store does not have, and writes the ONNX file and its external data."""
    label, kept = str(arguments.manifest), store.Store(user_folder())
    digests = {"": arguments.sha256, **arguments.data}  # by the path from the ONNX file; that of the file itself is ""
    if any(kept.find(digest) is None for digest in digests.values()):
        if arguments.package:
            _from_package(kept, packages.parse(arguments.package), PurePosixPath(arguments.file), digests, label)
        else:
            _from_address(kept, arguments.url, digests, label)
    _check_data(kept, arguments.sha256, arguments.data, label)
    targets = {path: arguments.model.parent / path if path else arguments.model for path in digests}
    with written_whole(*targets.values()) as partial:
        for path, file in zip(targets, partial, strict=True):
            found = kept.find(digests[path])
            if found is None:
                raise BuildError(Problem(label, f"{targets[path].name} has gone from the store", "build again"))
            shutil.copyfile(found, file)


def _from_address(kept: store.Store, url: str, digests: Mapping[str, str], label: str) -> None:
    """Downloads what is missing, the external data from beside the ONNX file's address."""
    for path, digest in digests.items():
        address = urljoin(url, quote(path)) if path else url
        with kept.work(f"{address} {digest}") as folder:
            if kept.find(digest) is not None:
                continue
            file = folder / "file"
            try:
                https.download(address, file)
            except https.RefusedError as error:
                message = f"{address} cannot be fetched: {error.message}"
                raise BuildError(Problem(label, message, error.hint, key=("model", "url"))) from error
            _keep(kept, file, digest, address, path, label)


def _from_package(
    kept: store.Store, package: Package, main_file: PurePosixPath, digests: Mapping[str, str], label: str
) -> None:
    """Takes the files out of the package, which is fetched unless the store has it."""
    with kept.work(str(package)) as folder:
        archive = kept.archive(str(package))
        if archive is None:
            shutil.rmtree(folder)
            folder.mkdir()
            kept.put_archive(packages.download(package, folder, label), str(package))
            archive = kept.archive(str(package))
            assert archive is not None
        places = {str(main_file.parent / path) if path else str(main_file): path for path in digests}
        files = {place: folder / str(number) for number, place in enumerate(places)}
        try:
            there = archives.take(archive, files, package.top)
        except archives.UnsafeError as error:
            message = f"the archive of {package} is refused: {error}"
            raise BuildError(Problem(label, message, "take the model from elsewhere", ("model", "package"))) from error
        missing = [place for place in files if place not in there]
        if missing:
            raise BuildError(_not_there(place, package, there, label) for place in missing)
        for place, file in files.items():
            _keep(kept, file, digests[places[place]], f"{place} of {package}", places[place], label)


def _keep(kept: store.Store, file: Path, digest: str, what: str, path: str, label: str) -> None:
    found = store.sha256(file)
    if found != digest:
        file.unlink()
        key = ("model", "data", path) if path else ("model", "sha256")
        hint = "it is not the file that the manifest means: look at it before you correct the hash"
        raise BuildError(Problem(label, f"{what} has sha256 {found}, not {digest}", hint, key=key))
    kept.put(file, digest)


def _not_there(place: str, package: Package, there: list[str], label: str) -> Problem:
    models = [path for path in there if path.endswith(".onnx")] or there
    more = f" and {len(models) - _SHOWN} more" if len(models) > _SHOWN else ""
    hint = f"in it: {', '.join(models[:_SHOWN])}{more}"
    return Problem(label, f"{package} has no file {place}", hint, key=("model", "file"))


def _check_data(kept: store.Store, digest: str, data: Mapping[str, str], label: str) -> None:
    """Sees that the manifest has the hashes of all files that the ONNX file's weights are in."""
    model = kept.find(digest)
    missing = [path for path in external_data.locations(str(model)) if path not in data] if model else []
    if missing:
        message = f"the model's weights are in {', '.join(missing)} too, whose hash is not given"
        hint = f'add to [model]: data = {{ "{missing[0]}" = "its sha256" }}'
        raise BuildError(Problem(label, message, hint, key=("model",)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("onnx_wasm.actions.model_fetch", description=__doc__)
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--url", default="", help="the ONNX file's address")
    place.add_argument("--package", default="", help="the package that it is in, with its version")
    parser.add_argument("--file", default="", help="its path in the package")
    parser.add_argument("--sha256", required=True, help="its hash")
    parser.add_argument("--data", type=json.loads, default={}, help="the hashes of its external data, by path")
    parser.add_argument("--model", type=Path, required=True, help="the file to write")
    return parser


if __name__ == "__main__":
    main(_parser(), run)
