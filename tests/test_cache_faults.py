"""Whatever is in a cache and however its server behaves: what comes out of it is right, or is built."""

from __future__ import annotations

import random
import resource
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cache_servers
import pytest
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_wasm.benchmarks import nginx
from onnx_wasm.benchmarks.nginx import Nginx
from onnx_wasm.strategies.cache.action_result import ActionResult, OutputFile
from onnx_wasm.strategies.cache.cache import Cache
from onnx_wasm.strategies.cache.digest import Digest, of_bytes
from onnx_wasm.strategies.cache.disk import DiskTier
from onnx_wasm.strategies.cache.errors import DamagedError, UnavailableError
from onnx_wasm.strategies.cache.http_tier import HttpTier
from onnx_wasm.strategies.cache.tier import Tier

KEY = of_bytes(b"an action").hash
CONTENTS = {"build/a.o": b"an object" * 100_000, "build/a.json": b"", "build/deep/a": b"a program"}
PATIENCE = 0.6
SEED = 20


class Cached:
    """A cache, the files that it brings, and what it says."""

    def __init__(self, folder: Path, local: Tier | None, remote: Tier | None, upload: bool = True) -> None:
        self.said: list[str] = []
        self.files = {name: folder / name for name in CONTENTS}
        self.cache = Cache(local, remote, upload, self.said.append)

    def make(self) -> None:
        for name, path in self.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(CONTENTS[name])
        self.files["build/deep/a"].chmod(0o755)

    def store(self) -> None:
        self.make()
        self.cache.store(KEY, self.files)
        self.cache.finish()

    def retrieve(self, key: str = KEY) -> bool:
        """Whether the outputs came, which are right then, and not there else."""
        for path in self.files.values():
            path.unlink(missing_ok=True)
        came = self.cache.retrieve(key, self.files)
        assert self.there() == (CONTENTS if came else {})
        return came

    def there(self) -> Mapping[str, bytes]:
        folder = self.files["build/a.o"].parents[1]
        found = {str(it.relative_to(folder)): it.read_bytes() for it in folder.glob("build/**/*") if it.is_file()}
        return dict(sorted(found.items(), key=lambda it: list(CONTENTS).index(it[0])))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nginx]:
    """A server that holds the outputs under ``KEY``."""
    with nginx.serving(tmp_path / "nginx") as it:
        maker = Cached(tmp_path / "maker", None, HttpTier(it.address))
        maker.store()
        assert maker.said == []
        yield it


def blob(content: Path, name: str = "build/a.o") -> Path:
    return content / "cas" / of_bytes(CONTENTS[name]).hash


def result(**digests: Digest) -> reapi.ActionResult:
    files = {name: of_bytes(data) for name, data in CONTENTS.items()} | digests
    return reapi.ActionResult(
        output_files=[
            reapi.OutputFile(path=name, digest=reapi.Digest(hash=it.hash, size_bytes=it.size))
            for name, it in files.items()
        ]
    )


def corrupt(content: Path) -> None:
    data = bytearray(blob(content).read_bytes())
    data[4711] ^= 1
    blob(content).write_bytes(data)


def truncate(content: Path) -> None:
    blob(content).write_bytes(CONTENTS["build/a.o"][:-1])


def lengthen(content: Path) -> None:
    blob(content).write_bytes(CONTENTS["build/a.o"] * 100)


def empty(content: Path) -> None:
    blob(content).write_bytes(b"")


def swap(content: Path) -> None:
    one, other = blob(content), blob(content, "build/deep/a")
    one.rename(content / "aside")
    other.rename(one)
    (content / "aside").rename(other)


def swap_result(content: Path) -> None:
    """Another action's result, all of whose blobs are there."""
    digest = of_bytes(CONTENTS["build/deep/a"])
    other = reapi.ActionResult(
        output_files=[reapi.OutputFile(path="build/b.o", digest=reapi.Digest(hash=digest.hash, size_bytes=digest.size))]
    )
    (content / "ac" / KEY).write_bytes(other.SerializeToString())


def cut_result(content: Path) -> None:
    (content / "ac" / KEY).write_bytes((content / "ac" / KEY).read_bytes()[:-3])


def no_result(content: Path) -> None:
    (content / "ac" / KEY).write_text("<html>Welcome to nginx!</html>")


def lead_out(content: Path) -> None:
    digest = of_bytes(CONTENTS["build/deep/a"])
    theirs = result()
    theirs.output_files.add(path="../../outside", digest=reapi.Digest(hash=digest.hash, size_bytes=digest.size))
    (content / "ac" / KEY).write_bytes(theirs.SerializeToString())


def name_twice(content: Path) -> None:
    theirs = result()
    theirs.output_files.append(theirs.output_files[0])
    (content / "ac" / KEY).write_bytes(theirs.SerializeToString())


def claim_a_terabyte(content: Path) -> None:
    (content / "ac" / KEY).write_bytes(result(**{"build/a.o": Digest("0" * 64, 1 << 40)}).SerializeToString())


DAMAGES = [
    *(corrupt, truncate, lengthen, empty, swap, swap_result, cut_result, no_result, lead_out, name_twice),
    claim_a_terabyte,
]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda it: it.__name__)
def test_a_damaged_entry_counts_as_not_there_and_is_replaced_by_what_is_built(
    damage: object, server: Nginx, tmp_path: Path
) -> None:
    damage(server.content)  # type: ignore[operator]
    mine = Cached(tmp_path / "mine", DiskTier(tmp_path / "disk"), HttpTier(server.address))
    assert not mine.retrieve()
    assert not mine.retrieve()
    (said,) = mine.said
    assert said.startswith(f"{server.address}: ")
    assert said.endswith("\n    what is damaged counts as not there")
    assert not (tmp_path / "outside").exists()
    mine.store()
    other = Cached(tmp_path / "other", None, HttpTier(server.address))
    assert other.retrieve()
    assert other.said == []


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda it: it.__name__)
def test_a_damaged_entry_of_this_machine_is_brought_anew(damage: object, server: Nginx, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    assert Cached(tmp_path / "mine", DiskTier(disk), HttpTier(server.address)).retrieve()
    flat = tmp_path / "flat"  # as the server has it, for the damage
    for kind in ("ac", "cas"):
        shutil.copytree(disk / kind, flat / kind, copy_function=shutil.copy)
        for path in [it for it in flat.glob(f"{kind}/*/*") if it.is_file()]:
            path.rename(flat / kind / path.name)
    damage(flat)  # type: ignore[operator]
    for path in [it for it in flat.glob("*/*") if it.is_file()]:
        (disk / path.parent.name / path.name[:2] / path.name).write_bytes(path.read_bytes())
    for expected in ("remote", "local"):
        mine = Cached(tmp_path / "mine", DiskTier(disk), HttpTier(server.address))
        assert mine.retrieve()
        assert vars(mine.cache.counts)[expected] == 1
        assert len(mine.said) == (expected == "remote")


def test_a_blob_that_was_evicted_is_a_miss_without_a_word(server: Nginx, tmp_path: Path) -> None:
    blob(server.content).unlink()
    mine = Cached(tmp_path / "mine", DiskTier(tmp_path / "disk"), HttpTier(server.address))
    assert not mine.retrieve()
    assert mine.said == []


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
FAILURES = {
    "500": (cache_servers.says("500 Broken"), "it answers 500 Internal Server Error"),
    "401": (cache_servers.says("401 Who"), "it answers 401 Unauthorized"),
    "redirect": (
        cache_servers.says("302 Found", b"", "Location: http://elsewhere.example.org/"),
        "it leads elsewhere (302): give the address that is meant",
    ),
    "silence": (cache_servers.hangs(), f"no answer within {PATIENCE} seconds"),
    "half a head": (cache_servers.hangs(b"HTTP/1.1 200 OK\r\nConte"), f"no answer within {PATIENCE} seconds"),
    "dripping head": (cache_servers.drips(b"HTTP/1.1 200 OK\r\nX: ", b"x"), f"no answer within {PATIENCE} seconds"),
    "endless continue": (
        cache_servers.drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        f"no answer within {PATIENCE} seconds",
    ),
    "half a body": (cache_servers.hangs(HEAD + b"x"), f"no answer within {PATIENCE} seconds"),
    "dripping body": (cache_servers.drips(HEAD, b"x"), f"no answer within {PATIENCE} seconds"),
    "closed in the body": (cache_servers.sends(HEAD + b"x"), "the connection closed early"),
    "closed in a chunk": (
        cache_servers.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nx"),
        "the connection closed early",
    ),
    "no chunk": (
        cache_servers.sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\nx"),
        "the connection closed early",
    ),
    "endless": (
        cache_servers.streams(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 100_000),
        "it answers with more than 4,194,304 bytes of a result",
    ),
    "closed": (cache_servers.sends(b""), "the connection closed without an answer"),
    "another protocol": (cache_servers.sends(b"220 \x1b[2J ESMTP\r\n"), "it does not answer as HTTP does"),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
def test_a_server_that_fails_is_told_of_once_then_left_alone(
    answer: cache_servers.Answer, reason: str, tmp_path: Path
) -> None:
    with cache_servers.answering(answer) as server:
        mine = Cached(tmp_path / "mine", None, HttpTier(server.address, patience=PATIENCE))
        started = time.monotonic()
        assert not mine.retrieve()
        assert time.monotonic() - started < 5 * PATIENCE
        assert not mine.retrieve()
        mine.store()
    assert mine.said == [f"{server.address}: {reason}\n    this cache is left alone for the rest of the build"]
    assert server.requests == [f"GET /ac/{KEY}"]


def test_many_threads_tell_of_a_server_that_fails_once(tmp_path: Path) -> None:
    with cache_servers.answering(cache_servers.hangs()) as server:
        mine = Cached(tmp_path / "mine", None, HttpTier(server.address, patience=PATIENCE))
        threads = [threading.Thread(target=mine.cache.retrieve, args=[KEY, mine.files]) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(mine.said) == 1


def test_nobody_waits_for_a_server_that_does_not_take_an_upload(tmp_path: Path) -> None:
    with cache_servers.answering(cache_servers.hangs()) as server:
        mine = Cached(tmp_path / "mine", None, HttpTier(server.address, patience=PATIENCE))
        started = time.monotonic()
        mine.store()
        assert time.monotonic() - started < 5 * PATIENCE
    assert len(mine.said) == 1


def test_results_are_written_after_all_that_they_name(server: Nginx) -> None:
    methods = [request for request in server.requests() if request.startswith("PUT")]
    assert [it.split("/")[1] for it in methods] == ["cas"] * len(CONTENTS) + ["ac"]


def test_there_is_no_result_where_a_blob_could_not_be_written(tmp_path: Path) -> None:
    with nginx.serving(tmp_path / "nginx", more="client_max_body_size 100k;") as server:
        mine = Cached(tmp_path / "mine", None, HttpTier(server.address))
        mine.store()
        assert len(mine.said) == 1
        assert "it answers 413" in mine.said[0]
        assert not (server.content / "ac").exists()


def test_what_changed_before_its_upload_is_not_uploaded(tmp_path: Path, server: Nginx) -> None:
    mine = Cached(tmp_path / "mine", None, None)
    mine.make()
    files = {path: of_bytes(CONTENTS[name]) for name, path in mine.files.items()}
    outputs = ActionResult(tuple(OutputFile(name, of_bytes(data)) for name, data in CONTENTS.items()))
    mine.files["build/a.o"].write_bytes(b"of another build")
    HttpTier(server.address).store("1" * 64, outputs, files)
    assert not (server.content / "ac" / ("1" * 64)).exists()
    assert blob(server.content).read_bytes() == CONTENTS["build/a.o"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=200)
    | st.builds(
        lambda status, headers, body: b"HTTP/1.1 " + status + b"\r\n" + headers + b"\r\n" + body,
        st.sampled_from([b"200 OK", b"404 No", b"204", b"200", b"101 Switching Protocols", b"999 x", b"-1 x"]),
        st.sampled_from([
            *(b"", b"Content-Length: 10\r\n", b"Content-Length: -5\r\n", b"Content-Length: 1_0\r\n", b": x\r\n"),
            *(b"Transfer-Encoding: chunked\r\n", b"Content-Encoding: gzip\r\n", b"\xff\xfe: \x00\r\n"),
        ]),
        st.binary(max_size=100)
        | st.sampled_from([b"0\r\n\r\n", b"-1\r\n", b"ffffffffffffffffffff\r\nx", b"5;x=y\r\nhello"]),
    )
)  # fmt: skip
def test_any_answer_is_a_miss_or_a_reason(tmp_path: Path, data: bytes) -> None:
    with cache_servers.answering(cache_servers.sends(data)) as server:
        tier = HttpTier(server.address, patience=PATIENCE)
        for ask in (lambda: tier.lookup(KEY), lambda: tier.fetch({tmp_path / "blob": of_bytes(b"x")})):
            try:
                found = ask()
            except (UnavailableError, DamagedError):
                continue
            assert found in (None, False, ActionResult(()))


def test_a_connection_that_was_closed_meanwhile_is_made_anew(tmp_path: Path) -> None:
    with nginx.serving(tmp_path / "nginx") as first:
        port = int(first.address.rpartition(":")[2])
        mine = Cached(tmp_path / "mine", None, HttpTier(first.address))
        mine.make()
        mine.cache.store(KEY, mine.files)
        mine.cache.finish()
        assert mine.retrieve()
    with nginx.serving(tmp_path / "nginx", port=port):
        assert mine.retrieve()
    assert mine.said == []


# Disks that are full


def test_a_local_tier_on_a_full_disk_is_left_alone_and_nothing_of_it_is_kept(server: Nginx, tmp_path: Path) -> None:
    """What is written to the disk tier fails in the middle of a blob, as on a full disk."""

    class FullDisk(DiskTier):
        def store(self, key: str, result: ActionResult, files: Mapping[Path, Digest]) -> None:
            soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
            try:
                super().store(key, result, files)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    mine = Cached(tmp_path / "mine", FullDisk(tmp_path / "disk"), HttpTier(server.address))
    assert mine.retrieve()
    assert mine.retrieve()
    assert (mine.cache.counts.local, mine.cache.counts.remote) == (0, 2)
    assert mine.said == [f"{tmp_path}/disk: File too large\n    this cache is left alone for the rest of the build"]
    kept = [it.name for it in (tmp_path / "disk").rglob("*") if it.is_file()]
    assert set(kept) <= {of_bytes(data).hash for data in CONTENTS.values()} - {of_bytes(CONTENTS["build/a.o"]).hash}


# A server that is killed


@pytest.mark.slow
def test_a_server_that_is_killed_at_any_moment_serves_nothing_wrong_afterwards(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    folder, port = tmp_path / "nginx", None
    for moment in range(100):
        with nginx.serving(folder, port=port) as server:
            port = int(server.address.rpartition(":")[2])
            mine = Cached(tmp_path / f"{moment}", None, HttpTier(server.address))
            mine.make()
            key = f"{moment % 7:064x}"
            timer = threading.Timer(chance.uniform(0, 0.014), server.process.kill)
            timer.start()
            if not mine.retrieve(key):
                mine.make()
                mine.cache.store(key, mine.files)
                mine.cache.finish()
            timer.join()
            assert len(mine.said) <= 1
            assert not any("damaged" in it for it in mine.said)
    with nginx.serving(folder, port=port) as server:
        for action in range(7):
            mine = Cached(tmp_path / f"last{action}", None, HttpTier(server.address))
            mine.retrieve(f"{action:064x}")
            assert mine.said == []
