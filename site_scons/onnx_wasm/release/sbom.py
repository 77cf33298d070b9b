"""What is in a release and what it was built with, as a CycloneDX document (version 1.6, JSON).

Format: https://cyclonedx.org/docs/1.6/json/. The document's time and serial number are made from what it says, so that
the same release has the same document.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model import component as cdx
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from onnx_wasm.errors import Problem
from onnx_wasm.release.components import Component

NAME = "sbom.cdx.json"
_TYPES = {
    "model": cdx.ComponentType.MACHINE_LEARNING_MODEL,
    "module": cdx.ComponentType.FILE,
    "crate": cdx.ComponentType.LIBRARY,
    "rust": cdx.ComponentType.LIBRARY,
    "package": cdx.ComponentType.LIBRARY,
    "program": cdx.ComponentType.APPLICATION,
}
_PURLS = {"crate": "cargo", "package": "pypi"}
_BUILT_WITH = ("package", "program")


def text(name: str, version: str, license_: str, components: Sequence[Component], epoch: int) -> str:
    """Makes the document.

    Args:
        name: The model's.
        version: The release's.
        license_: The model's, an SPDX expression.
        components: All there is to tell.
        epoch: The time that the document carries, in seconds since 1970.
    """
    release = _described(Component("program", name, version, license=license_))
    parts = [_described(it) for it in components]
    when = dt.datetime.fromtimestamp(epoch, dt.UTC)
    bom = Bom(metadata=BomMetaData(component=release, timestamp=when), components=parts)
    modules = [part for part, it in zip(parts, components, strict=True) if it.kind == "module"]
    linked = [part for part, it in zip(parts, components, strict=True) if it.kind in ("model", "crate", "rust")]
    bom.register_dependency(release, modules)
    for module in modules:
        bom.register_dependency(module, linked)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, repr((name, version, license_, epoch, list(components))))
    return JsonV1Dot6(bom).output_as_string(indent=1) + "\n"


def problems(written: str, where: str) -> list[Problem]:
    """What is wrong with a document, by CycloneDX's own schema.

    Args:
        written: Its text.
        where: The file, as messages call it.
    """
    try:
        errors: Iterable[object] = JsonStrictValidator(SchemaVersion.V1_6).validate_str(written, all_errors=True) or ()
    except ValueError as error:
        return [Problem(where, f"is not JSON: {error}")]
    return [Problem(where, f"is not as CycloneDX 1.6 has it: {_first_line(error)}") for error in errors]


def _described(it: Component) -> cdx.Component:
    type_ = _PURLS.get(it.kind)
    reference = "onnx-wasm:" + f"{it.kind}:{it.name}:{it.version}".rstrip(":")
    return cdx.Component(
        type=_TYPES[it.kind],
        name=it.name,
        version=it.version or None,
        bom_ref=reference.replace(" ", "-"),
        purl=PackageURL(type_, name=it.name, version=it.version) if type_ else None,
        scope=cdx.ComponentScope.EXCLUDED if it.kind in _BUILT_WITH else cdx.ComponentScope.REQUIRED,
        hashes=_hashes([it.sha256] if it.sha256 else []),
        licenses=[LicenseFactory().make_from_string(it.license)] if it.license else [],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"pkg:{type_}/{it.name}@{it.version}"),
                comment="the archives that the lock file admits",
                hashes=_hashes(it.archives),
            )
        ]
        if it.archives
        else [],
    )


def _hashes(digests: Iterable[str]) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in digests]


def _first_line(error: object) -> str:
    return next(iter(str(getattr(error, "data", error)).splitlines()), "")
