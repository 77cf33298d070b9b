"""A release: the same bytes each time, and one changed bit anywhere in it is found and named."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from releases import COMMIT, EPOCH, keys, release
from support import ROOT, copy, environment

from onnx_wasm.errors import BuildError
from onnx_wasm.release import ARCHIVE_SUFFIX, archive, provenance, sbom, signing, sums
from onnx_wasm.release.assembly import assemble
from onnx_wasm.release.verification import verify


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return keys(tmp_path_factory.mktemp("keys"), "release")


@pytest.fixture(scope="module")
def signed(built: Path, pair: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed release, and its archive beside it."""
    return made(built, tmp_path_factory.mktemp("signed"), pair[0])


@pytest.fixture(scope="module")
def unsigned(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(built, tmp_path_factory.mktemp("unsigned"), None)


def made(built: Path, place: Path, key: Path | None) -> Path:
    folder = place / "mnist-1.0.0"
    folder.mkdir()
    assemble(release(built, place), folder, key)
    with (place / f"{folder.name}{ARCHIVE_SUFFIX}").open("wb") as file:
        archive.pack(folder, folder.name, EPOCH, file)
    return folder


def problems(folder: Path, public: Path | None = None) -> list[str]:
    """What is wrong with a release, each at its place in it."""
    found = verify(folder, signing.public_key(public) if public else None).problems
    return [str(problem).replace(f"{folder}/", "") for problem in found]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "onnx_wasm", "verify-release", "--no-rebuild", *map(str, words)]
    path = {"PYTHONPATH": str(ROOT / "site_scons")}
    return subprocess.run(line, env=environment(path), capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_a_release_holds_what_it_says(signed: Path, pair: tuple[Path, Path]) -> None:
    assert problems(signed, pair[1]) == []
    assert problems(signed) == []
    done = command(signed, "--key", pair[1])
    assert (done.returncode, done.stderr) == (0, "")
    assert f"made from commit {COMMIT}" in done.stdout
    assert f"signed by {signing.public_key(pair[1]).keyid}" in done.stdout
    sha256sum = subprocess.run(["sha256sum", "--check", "--strict", "--quiet", sums.NAME], cwd=signed, check=False)
    assert sha256sum.returncode == 0


@pytest.mark.slow
def test_the_same_release_has_the_same_bytes(built: Path, unsigned: Path, tmp_path: Path) -> None:
    again = made(built, tmp_path, None)
    for one, other in zip(files(unsigned.parent), files(again.parent), strict=True):
        assert (one.name, one.read_bytes()) == (other.name, other.read_bytes())


def test_the_archive_holds_the_folder_with_fixed_times_and_owners(signed: Path) -> None:
    with zstandard.open(f"{signed}{ARCHIVE_SUFFIX}", "rb") as file, tarfile.open(fileobj=file, mode="r|") as packed:
        entries = [(its, packed.extractfile(its).read()) for its in packed]  # type: ignore[union-attr]
    assert [its.name for its, _ in entries] == [str(path.relative_to(signed.parent)) for path in files(signed)]
    assert [data for _, data in entries] == [path.read_bytes() for path in files(signed)]
    assert {(its.mtime, its.uid, its.gid, its.uname, its.mode) for its, _ in entries} == {(EPOCH, 0, 0, "", 0o644)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_one_changed_bit_is_found_and_named(
    kind: str, request: pytest.FixtureRequest, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    """Every file in turn; the archive too."""
    folder = copy(request.getfixturevalue(kind).parent, tmp_path / kind) / "mnist-1.0.0"
    public = pair[1] if kind == "signed" else None
    draw = random.Random(7)
    for path in files(folder.parent):
        if path.name == "toolchain.lock" and path.parent == folder.parent:
            continue  # what the release was made from, not part of it
        whole = path.read_bytes()
        flip(path, draw.randrange(8 * len(whole)))
        found = problems(folder, public)
        name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
        assert found, f"nobody noticed a changed bit in {name}"
        assert all(its.startswith(f"{name}: ") or f" {name}: one of the two" in its for its in found), found
        path.write_bytes(whole)
    assert problems(folder, public) == []


@pytest.mark.parametrize("kind", ["signed", "unsigned"])
def test_any_bit_of_the_files_that_vouch_for_others_is_found(
    kind: str, request: pytest.FixtureRequest, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    folder = copy(request.getfixturevalue(kind), tmp_path / "mnist-1.0.0")
    public = pair[1] if kind == "signed" else None
    draw = random.Random(11)
    for name in (provenance.NAME, sums.NAME):
        whole = (folder / name).read_bytes()
        for bit in [*range(16), *(draw.randrange(8 * len(whole)) for _ in range(60)), 8 * len(whole) - 8]:
            flip(folder / name, bit)
            found = problems(folder, public)
            assert found, f"nobody noticed bit {bit} of {name}"
            if public is None and len(found) == 1 and "one of the two was changed" in found[0]:
                assert found[0].startswith(f"{provenance.NAME}: does not fit its line in {sums.NAME}")
            else:
                assert all(its.startswith(f"{name}: ") for its in found), (bit, found)
            (folder / name).write_bytes(whole)


def test_a_file_too_many_and_one_too_few_are_named(signed: Path, tmp_path: Path) -> None:
    folder = copy(signed, tmp_path / signed.name)
    (folder / "teaclave/extra.wasm").write_bytes(b"")
    (folder / "web/mnist.wasm").unlink()
    (folder / "wasi/mnist.wasm").unlink()
    (folder / "wasi/mnist.wasm").symlink_to(signed / "wasi/mnist.wasm")
    extra, link, missing = problems(folder)
    assert extra.startswith("teaclave/extra.wasm: does not belong to the release")
    assert link.startswith("wasi/mnist.wasm: was changed")
    assert missing.startswith("web/mnist.wasm: is missing")


def test_new_sums_do_not_make_up_for_a_changed_file(signed: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
    folder = copy(signed, tmp_path / signed.name)
    flip(folder / "teaclave/mnist.wasm", 12345)
    (folder / sums.NAME).write_text(sums.text(sums.digests(folder)))
    (problem,) = problems(folder, pair[1])
    assert problem.startswith("teaclave/mnist.wasm: is not the file that the provenance tells of")


@pytest.mark.slow
def test_nor_does_a_new_provenance_without_the_key(signed: Path, pair: tuple[Path, Path], tmp_path: Path) -> None:
    """Somebody else who makes the whole release anew cannot sign it."""
    folder = copy(signed, tmp_path / signed.name)
    flip(folder / "licenses/png-0.17.7/LICENSE-MIT", 99)
    envelope = signing.open_envelope((folder / provenance.NAME).read_bytes(), "")
    subjects, build = provenance.parse(envelope.payload, "")
    subjects = {name: digest for name, digest in sums.digests(folder).items() if name in subjects}
    other, _ = keys(tmp_path, "other")
    for key, words in ((None, "is not signed"), (other, "is signed by")):
        signer = signing.signer(key) if key else None
        (folder / provenance.NAME).write_bytes(signing.seal(provenance.statement(subjects, build), signer))
        (folder / sums.NAME).write_text(sums.text(sums.digests(folder)))
        assert problems(folder) == []
        (problem,) = problems(folder, pair[1])
        assert problem.startswith(f"{provenance.NAME}: {words}")


@pytest.mark.slow
def test_an_unsigned_release_is_called_so(unsigned: Path, pair: tuple[Path, Path]) -> None:
    done = command(unsigned)
    assert done.returncode == 0, done.stderr
    assert "NOT SIGNED" in done.stdout
    done = command(unsigned, "--key", pair[1])
    assert done.returncode == 2
    assert "is not signed" in done.stderr


def test_the_provenance_is_an_in_toto_statement_of_slsa(signed: Path) -> None:
    envelope = json.loads((signed / provenance.NAME).read_text())
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    subjects = {it["name"]: it["digest"]["sha256"] for it in statement["subject"]}
    rest = {sums.NAME, provenance.NAME}
    assert subjects == {
        str(path.relative_to(signed)): sums.digest(path) for path in files(signed) if path.name not in rest
    }
    made_from = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    names = {it["name"] for it in made_from}
    assert {"source", "rustc", "linker", "tvm", "wrapper/src/lib.rs", "wrapper/Cargo.lock"} <= names
    assert {it["digest"].get("gitCommit") for it in made_from if it["name"] == "source"} == {COMMIT}
    assert all(len(it["digest"]["sha256"]) == 64 for it in made_from if it["name"].startswith("wrapper/"))
    rustc = next(it for it in made_from if it["name"] == "rustc")
    assert rustc["annotations"]["fingerprint"].startswith(f"rustc {rustc['annotations']['version']} sha256:")
    assert len(rustc["digest"]["sha256"]) == 64


@pytest.mark.slow
def test_the_sbom_names_the_model_and_all_that_is_linked_in(signed: Path) -> None:
    text = (signed / sbom.NAME).read_text()
    assert sbom.problems(text, sbom.NAME) == []
    parts = {(it["type"], it["name"]): it for it in json.loads(text)["components"]}
    model = parts["machine-learning-model", "mnist.onnx"]
    assert model["hashes"] == [{"alg": "SHA-256", "content": sums.digest(ROOT / "models/mnist/mnist.onnx")}]
    assert model["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    for name in ("png", "jpeg-decoder", "libm", "core, alloc and compiler_builtins", "onnx-wasm-wrapper"):
        it = parts["library", name]
        assert it["scope"] == "required"
        assert it["licenses"]
        assert any(path.parent.name.startswith(name.split(",")[0]) for path in (signed / "licenses").rglob("*"))
    assert parts["library", "apache-tvm"]["scope"] == "excluded"
    assert parts["library", "apache-tvm"]["externalReferences"][0]["hashes"]
    assert parts["application", "rustc"]["hashes"][0]["content"]
    assert "is not as CycloneDX 1.6 has it" in str(
        sbom.problems(text.replace('"type": "library"', '"type": "x"'), "")[0]
    )


def test_a_document_that_tells_of_another_module_is_found(built: Path, unsigned: Path, tmp_path: Path) -> None:
    """A consistent release whose SBOM is that of another one."""
    folder = copy(unsigned, tmp_path / unsigned.name)
    text = (folder / sbom.NAME).read_text()
    told = sums.digest(built / "build/web/mnist/mnist.wasm")
    (folder / sbom.NAME).write_text(text.replace(told, "0" * 64))
    payload = signing.open_envelope((folder / provenance.NAME).read_bytes(), "").payload
    subjects, build = provenance.parse(payload, "")
    subjects[sbom.NAME] = sums.digest(folder / sbom.NAME)
    (folder / provenance.NAME).write_bytes(signing.seal(provenance.statement(subjects, build), None))
    (folder / sums.NAME).write_text(sums.text(sums.digests(folder)))
    assert problems(folder) == [f"{sbom.NAME}: tells another hash of web/mnist.wasm"]


@given(st.binary(max_size=300))
def test_no_envelope_crashes_its_reader(data: bytes) -> None:
    with pytest.raises(BuildError):
        signing.open_envelope(data, "envelope")


@pytest.mark.slow
@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda its: st.lists(its) | st.dictionaries(
    st.sampled_from(["_type", "subject", "predicate", "buildDefinition", "name", "digest", "x"]), its)))  # fmt: skip
def test_no_statement_crashes_its_reader(data: object) -> None:
    with pytest.raises(BuildError):
        provenance.parse(json.dumps(data).encode(), "statement")


def test_keys_that_cannot_be_used_are_told(tmp_path: Path, pair: tuple[Path, Path]) -> None:
    other = tmp_path / "other.key"
    pem = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    other.write_bytes(pem)
    for path, words in (
        (tmp_path / "none.key", "cannot be read: No such file"),
        (ROOT / "README.md", "is no private key in PEM"),
        (other, "is no private key of ed25519"),
    ):
        with pytest.raises(BuildError, match=words):
            signing.signer(path)
    with pytest.raises(BuildError, match="is no public key"):
        signing.public_key(pair[0])
