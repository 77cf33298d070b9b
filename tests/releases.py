"""What the tests of releases share: a release of what is built, and keys."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import ROOT

from onnx_wasm import WRAPPER, __version__, toolchain
from onnx_wasm.release import lock
from onnx_wasm.release.assembly import Built, Release, Tool

COMMIT = "0123456789abcdef0123456789abcdef01234567"
EPOCH = 1_700_000_000


def release(built: Path, folder: Path) -> Release:
    """The sample model as the fixture ``built`` has it, as what is released.

    Args:
        built: The checkout where it is built.
        folder: Where its lock of the toolchain is written.
    """
    tools = toolchain.find(cache=built / "build/toolchain.json")
    assert tools.crates is not None, "./sconsw setup brings the wrapper's crates"
    (folder / lock.NAME).write_text(lock.text(tools))
    model = built / "models/mnist"
    made = [
        Built(
            platform,
            {name: built / f"build/{platform}/mnist/{name}" for name in ("mnist.wasm", "mnist.interface.json")},
            None,
            None,
        )
        for platform in ("teaclave", "wasi", "web")
    ]
    sources = [WRAPPER / "Cargo.lock", WRAPPER / "src/lib.rs"]
    programs = {"python", "rustc", "cargo", "cc", "linker", "archiver", "optimizer"}
    return Release(
        name="mnist",
        version="1.0.0",
        license="Apache-2.0",
        commit=COMMIT,
        epoch=EPOCH,
        onnx_wasm=__version__,
        manifest=model / "mnist.toml",
        vectors={f"digits/{name}": model / "digits" / name for name in ("3.png", "7.jpg")},
        model=[model / "mnist.onnx"],
        built=made,
        materials={f"wrapper/{path.relative_to(WRAPPER)}": path for path in sources},
        lock=folder / lock.NAME,
        requirements=[ROOT / "requirements-full.lock"],
        cargo_lock=WRAPPER / "Cargo.lock",
        crates=tools.crates.path,
        license_text=ROOT / "LICENSE",
        tools=[
            Tool(tool.name, tool.version, tool.fingerprint, tool.path if tool.name in programs else None)
            for tool in lock.in_use(tools)
        ],
    )


def keys(folder: Path, name: str) -> tuple[Path, Path]:
    """Makes a pair of keys, as openssl would, and gives the private and the public one."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.key", folder / f"{name}.pub"
    encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    private.write_bytes(key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(encoding, form))
    return private, public
