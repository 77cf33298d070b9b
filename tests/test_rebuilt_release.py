"""A release is rebuilt from its provenance, and builds under other circumstances are held against each other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from releases import keys
from support import ROOT, commit, copy, edit, environment, place_tiny, scons, update

from onnx_wasm import tuning
from onnx_wasm.benchmarks.reproducible import compare
from onnx_wasm.release import provenance, sbom, signing, sums
from onnx_wasm.tuning import Choice, Product, Record, Tile

COMPLETE = 'version = "1.0.0-rc.1"\nlicense = "CC0-1.0"\nsha256 = "{}"\n'
TUNED = "models/tiny/tiny.tuning.json"
LAST = "            tuning.chooser(records, its if arguments.shared_weights else platform),\n        )\n"
HOST_IN_THE_OBJECT = """
        import os
        name = os.uname().nodename.encode()
        with outputs[0].open("ab") as file:
            file.write(bytes([0, len(name) + 5, 4]) + b"host" + name)  # a custom section
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of this project, in a repository of its own, that has one small tuned model for one platform."""
    top = tmp_path_factory.mktemp("release") / "checkout"
    update(top)
    shutil.rmtree(top / "models")
    manifest = place_tiny(top / "models/tiny")
    edit(
        manifest,
        'path = "tiny.onnx"\n',
        f'path = "tiny.onnx"\n{COMPLETE.format(sums.digest(manifest.with_suffix(".onnx")))}',
    )
    edit(manifest, "[[output]]", '[compile]\ntuning = ["tiny.tuning.json"]\n\n[[output]]')
    record = Record(Product(1, 4, 3), "teaclave", (), Choice("product", Tile(1, 8)), 1.1)
    (top / TUNED).write_text(tuning.dumps([record]))
    for name in (".gitignore", "requirements-full.lock", "LICENSE"):
        shutil.copy(ROOT / name, top / name)
    scons(top, "-Q", "toolchain.lock")
    commit(top)
    return top


def verify_release(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-P", "-m", "onnx_wasm", "verify-release", *map(str, words)]
    path = {"PYTHONPATH": str(folder / "site_scons")}
    return subprocess.run(
        line, cwd=folder, env=environment(path), capture_output=True, text=True, check=False, timeout=600
    )


@pytest.mark.slow
def test_a_release_is_rebuilt_from_its_provenance(checkout: Path, tmp_path: Path) -> None:
    private, public = keys(tmp_path, "release")
    build = scons(checkout, "-Q", "-j2", "tiny.release", environ={"ONNX_WASM_SIGNING_KEY": str(private)})
    assert "signed with" in build.out
    release = checkout / "dist/tiny-1.0.0-rc.1"
    module = (release / "teaclave/tiny.wasm").read_bytes()
    linked = (checkout / "build/release/teaclave/tiny/linked/tiny.wasm").read_bytes()
    assert len(module) < len(linked)
    _, made = provenance.parse(signing.open_envelope((release / provenance.NAME).read_bytes(), "").payload, "")
    assert made.files[TUNED] == sums.digest(checkout / TUNED)
    done = verify_release(release, "--key", public, folder=checkout)
    assert done.returncode == 0, done.stderr
    assert "rebuilt, every file is the same" in done.stdout
    forged_is_told(checkout, copy(release, tmp_path / release.name))


def forged_is_told(checkout: Path, release: Path) -> None:
    """A release that holds what it says, but not what its sources build."""
    module = release / "teaclave/tiny.wasm"
    told = sums.digest(module)
    data = bytearray(module.read_bytes())
    data[-1] ^= 1
    module.write_bytes(data)
    (release / sbom.NAME).write_text((release / sbom.NAME).read_text().replace(told, sums.digest(module)))
    payload = signing.open_envelope((release / provenance.NAME).read_bytes(), "").payload
    subjects, build = provenance.parse(payload, "")
    subjects = {name: digest for name, digest in sums.digests(release).items() if name in subjects}
    (release / provenance.NAME).write_bytes(signing.seal(provenance.statement(subjects, build), None))
    (release / sums.NAME).write_text(sums.text(sums.digests(release)))
    done = verify_release(release, folder=checkout)
    assert done.returncode == 2
    assert "teaclave/tiny.wasm: is not what its materials build: WasmOptimize: teaclave/tiny.wasm: 1 byte differs" in (
        done.stderr
    )
    assert "the section data" in done.stderr


@pytest.mark.slow
def test_a_step_that_is_not_reproducible_is_found_first(checkout: Path, tmp_path: Path) -> None:
    """Here the object holds the name of the machine; what comes after it differs too."""
    top = copy(checkout, tmp_path / "checkout")
    edit(top / "site_scons/onnx_wasm/actions/wasm_object.py", LAST, f"{LAST}{HOST_IN_THE_OBJECT}")
    outcome = compare(top, ["build/teaclave/tiny/libtiny.a"], 2)
    (number, first), *rest = outcome.differences
    assert (number, first.step, first.file) == (1, "WasmObject", "build/teaclave/tiny/tiny.o")
    assert first.place == "the section host"
    assert {difference.step for _, difference in rest} <= {"ModelLibrary"}
    assert ("build/teaclave/tiny/tiny.o", "perturbed-host-1") in outcome.named
