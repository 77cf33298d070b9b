"""Results of actions are the Remote Execution API's messages, read and written as protobuf's own library does."""

from __future__ import annotations

import pytest
from buildgrid.common.protos.build.bazel.remote.execution.v2 import remote_execution_pb2 as reapi
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from onnx_wasm.strategies.cache import action_result
from onnx_wasm.strategies.cache.action_result import ActionResult, OutputFile
from onnx_wasm.strategies.cache.digest import Digest, of_bytes
from onnx_wasm.strategies.cache.errors import DamagedError

PATHS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
DIGESTS = st.builds(Digest, st.binary(min_size=32, max_size=32).map(bytes.hex), st.integers(0, 2**63 - 1))
RESULTS = st.builds(ActionResult, st.lists(st.builds(OutputFile, PATHS, DIGESTS, st.booleans()), max_size=4).map(tuple))
DIGEST = of_bytes(b"something")


def their_digest(digest: Digest) -> reapi.Digest:
    return reapi.Digest(hash=digest.hash, size_bytes=digest.size)


def as_theirs(result: ActionResult) -> reapi.ActionResult:
    files = [
        reapi.OutputFile(path=it.path, digest=their_digest(it.digest), is_executable=it.executable)
        for it in result.files
    ]
    return reapi.ActionResult(output_files=files)


def as_ours(result: reapi.ActionResult) -> ActionResult:
    files = (
        OutputFile(it.path, Digest(it.digest.hash, it.digest.size_bytes), it.is_executable)
        for it in result.output_files
    )
    return ActionResult(tuple(files))


@given(RESULTS)
def test_what_is_written_is_what_protobuf_writes(result: ActionResult) -> None:
    assert result.encode() == as_theirs(result).SerializeToString(deterministic=True)


@given(RESULTS)
def test_what_was_written_is_read(result: ActionResult) -> None:
    assert action_result.decode(result.encode()) == result


def test_fields_that_are_of_no_use_are_passed_over() -> None:
    theirs = as_theirs(ActionResult((OutputFile("a", DIGEST),)))
    theirs.stdout_raw = b"hello"
    theirs.execution_metadata.worker = "some machine"
    theirs.execution_metadata.queued_timestamp.FromSeconds(1_700_000_000)
    theirs.output_files[0].contents = b"something"
    theirs.output_files[0].node_properties.unix_mode.value = 0o755
    assert action_result.decode(theirs.SerializeToString()) == as_ours(theirs)


@given(st.binary(max_size=64) | st.builds(bytes.__add__, RESULTS.map(ActionResult.encode), st.binary(max_size=16)))
def test_any_bytes_are_read_as_protobuf_reads_them_or_refused(data: bytes) -> None:
    try:
        ours = action_result.decode(data)
    except DamagedError:
        return
    try:
        theirs = reapi.ActionResult.FromString(data)
    except DecodeError:
        return  # an error in a field that is of no use here
    assert ours == as_ours(theirs)


@given(RESULTS, st.data())
def test_a_result_that_was_cut_off_is_refused_or_has_fewer_outputs(result: ActionResult, data: st.DataObject) -> None:
    encoded = result.encode()
    cut = encoded[: data.draw(st.integers(0, len(encoded)))]
    try:
        files = action_result.decode(cut).files
    except DamagedError:
        return
    assert files == result.files[: len(files)]


@pytest.mark.parametrize(
    "result",
    [
        reapi.ActionResult(exit_code=1),
        reapi.ActionResult(exit_code=-9),
        reapi.ActionResult(output_files=[reapi.OutputFile(path="a")]),
        reapi.ActionResult(output_files=[reapi.OutputFile(path="a", digest=reapi.Digest(hash="../../etc/passwd"))]),
        reapi.ActionResult(output_files=[reapi.OutputFile(path="a", digest=reapi.Digest(hash="F" * 64))]),
        reapi.ActionResult(
            output_files=[reapi.OutputFile(path="a", digest=reapi.Digest(hash=DIGEST.hash, size_bytes=-1))]
        ),
    ],
    ids=["failed", "killed", "no digest", "path as digest", "capital digits", "negative size"],
)
def test_a_result_that_is_none_of_a_success_is_refused(result: reapi.ActionResult) -> None:
    with pytest.raises(DamagedError):
        action_result.decode(result.SerializeToString())
