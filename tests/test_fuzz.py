"""Mutants of ONNX files and manifests are built or refused, and whatever else becomes of one is told."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from random import Random

import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from support import ROOT, tiny

from onnx_wasm.benchmarks import fuzz, mutations
from onnx_wasm.benchmarks.fuzz import Fate, Seeds
from onnx_wasm.benchmarks.workers import Limits
from onnx_wasm.errors import BuildError, Problem

QUICK = 40
MANIFESTS = [number for number in range(4 * QUICK) if fuzz.is_manifest(number)][:4]


@pytest.fixture(scope="module")
def seeds() -> Seeds:
    """What costs no time to build: one small model, that of mnist, and both manifests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(fuzz.node_tests, "load", dict)
        manifests = fuzz.seeds().manifests
    mnist = (ROOT / "models/mnist/mnist.onnx").read_bytes()
    return Seeds([tiny().SerializeToString()], [mnist], manifests)


@pytest.mark.slow
def test_a_mutant_is_built_or_refused(seeds: Seeds) -> None:
    numbers = [number for number in range(2 * QUICK) if not fuzz.is_manifest(number)][:QUICK]
    found = fuzz.fates([*numbers, *MANIFESTS], seeds, 2)
    kinds = [it.kind for it in found.values()]
    assert {number: it for number, it in found.items() if it.kind in ("broken", "hung")} == {}
    assert min(kinds.count("built"), kinds.count("refused")) > 5


@given(number=st.integers(0, 2**32))
def test_a_number_gives_the_same_mutant_every_time(number: int, seeds: Seeds) -> None:
    assert fuzz.mutant(number, seeds) == fuzz.mutant(number, seeds)


def test_most_mutants_differ_and_can_be_read() -> None:
    whole = tiny().SerializeToString()
    mutants = [mutations.of_model(whole, Random(number), whole) for number in range(300)]
    readable = 0
    for it in mutants:
        try:
            onnx.ModelProto.FromString(it)
            readable += 1
        except DecodeError:
            pass
    assert readable > 200
    assert len(set(mutants) - {whole}) > 200


def of(work: Callable[[object], None], seeds: Seeds, monkeypatch: pytest.MonkeyPatch) -> Fate:
    """What becomes of a mutant if the compiler does as said."""
    monkeypatch.setattr(fuzz, "compiled", lambda path, _folder, _label: work(path))
    return fuzz.fates([0], seeds, 1)[0]


def refuses(_: object) -> None:
    raise BuildError(Problem("it.onnx", "is a mutant"))


def raises(_: object) -> None:
    raise KeyError(128)


def hangs(_: object) -> None:
    time.sleep(60)


@pytest.mark.slow
def test_what_becomes_of_a_mutant_is_told(seeds: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = of(refuses, seeds, monkeypatch)
    assert (refused.kind, refused.message) == ("refused", "it.onnx: is a mutant")
    broken = of(raises, seeds, monkeypatch)
    assert broken.kind == "broken"
    assert broken.message.startswith("KeyError: 128\nTraceback")
    assert of(lambda _: os._exit(3), seeds, monkeypatch).kind == "broken"
    assert of(lambda _: None, seeds, monkeypatch).kind == "built"
    monkeypatch.setattr(fuzz, "_LIMITS", Limits(1, 2**32))
    assert of(hangs, seeds, monkeypatch).kind == "hung"


@pytest.mark.slow
def test_a_manifest_that_breaks_the_build_is_told(seeds: Seeds, monkeypatch: pytest.MonkeyPatch) -> None:
    text, files = seeds.manifests[1]
    monkeypatch.setattr(fuzz, "mutant", lambda *_: (text.encode(), files))
    assert fuzz.fate(MANIFESTS[0], seeds).kind == "built"
    monkeypatch.setattr(fuzz, "_SCONSTRUCT", "raise KeyError(1)")
    broken = fuzz.fate(MANIFESTS[0], seeds)
    assert broken.kind == "broken"
    assert "KeyError" in broken.message


def test_a_mutant_that_breaks_the_build_misses_the_limit() -> None:
    fates = {0: Fate("built", peak=10), 1: Fate("broken"), 2: Fate("hung", peak=5 * 1000**3), 3: Fate("refused")}
    values = [(row.value, row.ok) for row in fuzz.rows(fates)]
    assert values == [(4, False), (1, False), (1, False), (5000, False)]
