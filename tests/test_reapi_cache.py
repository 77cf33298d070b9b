"""A server of the Remote Execution API keeps results: buildbox-casd, one before another, and one that compresses."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from random import Random
from threading import Timer

import grpc
import pytest
import reapi_server
from support import copy, scons

from onnx_wasm.benchmarks import buildbox
from onnx_wasm.benchmarks.buildbox import Casd
from onnx_wasm.errors import BuildError
from onnx_wasm.strategies.cache.cache import Cache
from onnx_wasm.strategies.cache.digest import of_bytes
from onnx_wasm.strategies.remote.server import Server
from onnx_wasm.strategies.remote.tier import GrpcTier
from onnx_wasm.workspace_file import Remote

KEY = of_bytes(b"an action").hash
NOTHING = Remote()
SECRET = "s3cr3t-of-the-team"
CONTENTS = {
    "build/empty": b"",
    "build/small.json": b"{}",
    "build/medium.o": bytes(range(256)) * 1000,
    "build/large.params": bytes(range(251)) * 25_000,
    **{f"build/web/{number}.js": str(number).encode() * 20_000 for number in range(30)},
}


def tier(address: str, said: Remote = NOTHING, **environ: str) -> GrpcTier:
    return GrpcTier(Server(address, "--remote-cache", said, {"NETRC": os.devnull, **environ}))


def files(folder: Path, make: bool) -> Mapping[str, Path]:
    paths = {name: folder / name for name in CONTENTS}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if make:
            path.write_bytes(CONTENTS[name])
    return paths


def store(to: GrpcTier, folder: Path) -> list[str]:
    """Puts the outputs there, and gives what is said."""
    said: list[str] = []
    cache = Cache(None, to, upload=True, tell=said.append)
    cache.store(KEY, files(folder / "made", make=True))
    cache.finish()
    return said


def retrieve(source: GrpcTier, folder: Path) -> tuple[bool, list[str]]:
    """Whether the outputs came, which are right then, and what is said."""
    said: list[str] = []
    outputs = files(folder / "taken", make=False)
    came = Cache(None, source, upload=False, tell=said.append).retrieve(KEY, outputs)
    if came:
        assert {name: path.read_bytes() for name, path in outputs.items()} == CONTENTS
    else:
        assert not any(path.exists() for path in outputs.values())
    return came, said


def test_casd_keeps_what_it_is_given(tmp_path: Path) -> None:
    with buildbox.serving(tmp_path / "casd") as server:
        assert retrieve(tier(server.address), tmp_path) == (False, [])
        assert store(tier(server.address), tmp_path) == []
        assert retrieve(tier(server.address), tmp_path) == (True, [])
        assert store(tier(server.address), tmp_path) == []


def test_a_casd_before_another_passes_on(tmp_path: Path) -> None:
    with buildbox.serving(tmp_path / "far") as far:
        proxy = f"--remote={far.address.replace('grpc', 'http', 1)}"
        with buildbox.serving(tmp_path / "near", proxy) as near:
            assert store(tier(near.address), tmp_path) == []
            assert retrieve(tier(far.address), tmp_path / "far-side") == (True, [])
        with buildbox.serving(tmp_path / "other", proxy) as other:
            assert retrieve(tier(other.address), tmp_path / "other-side") == (True, [])


@pytest.mark.slow
def test_a_build_takes_from_casd_what_another_gave(built: Path, tmp_path: Path) -> None:
    giver, taker = copy(built, tmp_path / "giver"), copy(built, tmp_path / "a taker")
    with buildbox.serving(tmp_path / "casd") as server:
        address = f"--remote-cache={server.address}"
        environ = {"XDG_CACHE_HOME": str(tmp_path / "one")}
        scons(giver, address, "--remote-cache-mode=readwrite", "--cache-force", "tiny.wasm", environ=environ)
        (taker / ".sconsign.dblite").unlink()
        build = scons(taker, "-j2", address, "tiny.wasm", environ={"XDG_CACHE_HOME": str(tmp_path / "two")})
    assert build.steps == []
    assert "\n0 built, 0 local, 5 remote\n" in build.out


@pytest.mark.parametrize("largest_batch", [0, 100_000])
@pytest.mark.parametrize("zstd", [False, True])
def test_blobs_go_in_batches_or_as_streams(zstd: bool, largest_batch: int, tmp_path: Path) -> None:
    with reapi_server.serving(zstd=zstd, largest_batch=largest_batch) as server:
        said = Remote(instance="models/main")
        assert store(tier(server.address, said), tmp_path) == []
        assert retrieve(tier(server.address, said), tmp_path) == (True, [])
        streams = 2 if zstd or largest_batch else 1
        assert server.calls["Write"] == server.calls["Read"] == streams
        assert all(("/compressed-blobs/zstd/" in name) == zstd for name in server.names)
        assert all(name.startswith("models/main/") for name in server.names)
        assert (server.calls["BatchUpdateBlobs"] > 5) == bool(largest_batch)
        assert store(tier(server.address, said), tmp_path) == []
        assert server.calls["Write"] == streams


def test_failures_that_pass_cost_a_moment(tmp_path: Path) -> None:
    passing = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    methods = ("GetCapabilities", "FindMissingBlobs", "BatchUpdateBlobs", "Write", "UpdateActionResult")
    with reapi_server.serving(failures=dict.fromkeys(methods, passing[:1])) as server:
        assert store(tier(server.address), tmp_path) == []
        server.failures = dict.fromkeys(("GetActionResult", "BatchReadBlobs", "Read"), passing[:])
        assert retrieve(tier(server.address), tmp_path) == (True, [])


@pytest.mark.slow
@pytest.mark.parametrize(("code", "calls"), [(grpc.StatusCode.UNAVAILABLE, 5), (grpc.StatusCode.PERMISSION_DENIED, 1)])
def test_failures_that_stay_are_told_once(code: grpc.StatusCode, calls: int, tmp_path: Path) -> None:
    with reapi_server.serving(failures={"GetActionResult": [code] * 50}) as server:
        came, said = retrieve(tier(server.address), tmp_path)
        assert not came
        assert said == [
            f"{server.address}: {code.name}: not now\n    this cache is left alone for the rest of the build"
        ]
        assert server.calls["GetActionResult"] == calls


@pytest.mark.slow
def test_a_server_that_is_not_there_is_told_of_once(tmp_path: Path) -> None:
    with reapi_server.serving() as server:
        pass
    started = time.monotonic()
    came, said = retrieve(tier(server.address), tmp_path)
    assert not came
    assert len(said) == 1
    assert said[0].startswith(f"{server.address}: UNAVAILABLE: ")
    assert time.monotonic() - started < 15


def corrupt(blobs: dict[str, bytes], name: str) -> None:
    blobs[name] = b"\xff" + blobs[name][1:]


def cut(blobs: dict[str, bytes], name: str) -> None:
    blobs[name] = blobs[name][:-1]


def blow_up(blobs: dict[str, bytes], name: str) -> None:
    blobs[name] = bytes(200_000_000)


@pytest.mark.parametrize("output", ["build/small.json", "build/large.params"])
@pytest.mark.parametrize("damage", [corrupt, cut, blow_up], ids=lambda it: it.__name__)
@pytest.mark.parametrize("zstd", [False, True])
def test_a_damaged_blob_counts_as_not_there(zstd: bool, damage: object, output: str, tmp_path: Path) -> None:
    if damage is blow_up and not (zstd and output == "build/large.params"):
        return  # gRPC itself refuses what is too long for a message
    with reapi_server.serving(zstd=zstd) as server:
        store(tier(server.address), tmp_path)
        damage(server.blobs, of_bytes(CONTENTS[output]).hash)  # type: ignore[operator]
        came, said = retrieve(tier(server.address), tmp_path)
        assert not came
        (line,) = said
        assert "is damaged\n" in line


def test_what_comes_as_zstd_and_is_none_counts_as_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with reapi_server.serving(zstd=True) as server:
        store(tier(server.address), tmp_path)
        monkeypatch.setattr(reapi_server, "zstandard", _NoZstd)
        came, said = retrieve(tier(server.address), tmp_path)
        assert not came
        assert "what comes compressed is damaged" in said[0]


class _NoZstd:
    @staticmethod
    def compress(data: bytes) -> bytes:
        return data


@pytest.mark.slow
def test_a_server_over_tls_that_wants_a_token(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    with reapi_server.serving(authority, token=SECRET) as server:
        trusting = Remote(tls_certificates=str(authority))
        with_token = tier(server.address, trusting, ONNX_WASM_REMOTE_TOKEN=SECRET)
        assert store(with_token, tmp_path) == []
        assert retrieve(with_token, tmp_path) == (True, [])
        for refused in (
            tier(server.address, trusting),
            tier(server.address, trusting, ONNX_WASM_REMOTE_TOKEN="another"),
            tier(server.address, ONNX_WASM_REMOTE_TOKEN=SECRET),
        ):
            came, said = retrieve(refused, tmp_path / "other")
            assert not came
            assert len(said) == 1
            assert SECRET not in said[0]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        (f"grpc://ci:{SECRET}@farm", "--remote-cache: credentials do not belong into an address"),
        ("grpc://farm:port", "--remote-cache: grpc://farm:port is not the address of a server"),
        ("grpc://builds/instance", "--remote-cache: grpc://builds/instance is not the address of a server"),
        ("grpcs:farm", "--remote-cache: grpcs:farm is not the address of a server"),
    ],
)
def test_what_is_no_address_is_told(address: str, message: str) -> None:
    with pytest.raises(BuildError) as error:
        tier(address)
    assert message in str(error.value)
    assert SECRET not in str(error.value)


def test_certificates_that_are_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no certificates can be read"):
        tier("grpcs://farm", replace(Remote(), tls_certificates=str(tmp_path / "ca.pem")))


def restarted(server: Casd) -> None:
    server.process.kill()
    server.process.wait()


@pytest.mark.slow
def test_a_casd_that_is_killed_serves_nothing_wrong_afterwards(tmp_path: Path) -> None:
    chance, port = Random(20), None
    for moment in range(10):
        with buildbox.serving(tmp_path / "casd", port=port) as server:
            port = int(server.address.rpartition(":")[2])
            timer = Timer(chance.uniform(0, 0.1), restarted, [server])
            timer.start()
            store(tier(server.address), tmp_path / f"{moment}")
            timer.join()
    with buildbox.serving(tmp_path / "casd", port=port) as server:
        came, said = retrieve(tier(server.address), tmp_path / "last")
        assert said == []
        assert came or store(tier(server.address), tmp_path / "last") == []
        assert retrieve(tier(server.address), tmp_path / "last") == (True, [])
