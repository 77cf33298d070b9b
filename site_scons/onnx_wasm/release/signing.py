"""DSSE envelopes, signed with a local ed25519 key.

Format: https://github.com/secure-systems-lab/dsse (envelope 1.0.0); the key's id is securesystemslib's. Keys are PEM
files, as ``openssl genpkey -algorithm ed25519`` and ``openssl pkey -pubout`` write them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from onnx_wasm.errors import BuildError, Problem

KEY_VARIABLE = "ONNX_WASM_SIGNING_KEY"
"""The environment variable that names the private key which signs."""

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_GENERATE = "openssl genpkey -algorithm ed25519 -out release.key; openssl pkey -in release.key -pubout -out release.pub"


def signer(path: Path) -> CryptoSigner:
    """Reads a private key.

    Raises:
        BuildError: It cannot be read, or is no ed25519 key in PEM without a password.
    """
    key = _loaded(path, lambda data: load_pem_private_key(data, None), Ed25519PrivateKey, "private")
    return CryptoSigner(key)


def public_key(path: Path) -> SSlibKey:
    """Reads a public key.

    Raises:
        BuildError: It cannot be read, or is no ed25519 key in PEM.
    """
    return SSlibKey.from_crypto(_loaded(path, load_pem_public_key, Ed25519PublicKey, "public"))


def seal(payload: bytes, signed_by: CryptoSigner | None) -> bytes:
    """Puts a statement into an envelope.

    Args:
        payload: The statement.
        signed_by: Who signs it; None for an envelope without signatures.
    """
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    if signed_by is not None:
        envelope.sign(signed_by)
    return _written(envelope)


def open_envelope(data: bytes, where: str) -> Envelope:
    """Reads an envelope that nobody vouches for. Its signatures are not looked at.

    Args:
        data: The file's bytes.
        where: The file, as messages call it.

    Raises:
        BuildError: It is not, byte for byte, what ``seal`` writes.
    """
    try:
        envelope = Envelope.from_dict(json.loads(data))
        whole = envelope.payload_type == PAYLOAD_TYPE and _written(envelope) == data
    except Exception as error:  # whatever the library makes of bytes that are anything
        raise BuildError(Problem(where, "is not a DSSE envelope around an in-toto statement")) from error
    if not whole:
        raise BuildError(Problem(where, "is not an envelope as a release has it: it was written again"))
    return envelope


def check(envelope: Envelope, key: SSlibKey, where: str) -> list[Problem]:
    """What is wrong with an envelope's signatures.

    Args:
        envelope: What ``open_envelope`` gave.
        key: The only one that may have signed it.
        where: The file, as messages call it.
    """
    if not envelope.signatures:
        return [Problem(where, "is not signed", "ask for a signed release, or verify without --key")]
    if set(envelope.signatures) != {key.keyid}:
        return [Problem(where, f"is signed by {', '.join(envelope.signatures)}, not by the key given, {key.keyid}")]
    try:
        envelope.verify([key], 1)
    except VerificationError:
        return [Problem(where, "the signature does not fit: the statement or the signature was changed")]
    return []


def _written(envelope: Envelope) -> bytes:
    return (json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":")) + "\n").encode()


def _loaded(path: Path, load: Callable[[bytes], Any], kind: type, word: str) -> Any:
    hint = f"make a pair of keys: {_GENERATE}"
    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise BuildError(Problem(str(path), f"cannot be read: {error.strerror}", hint)) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BuildError(Problem(str(path), f"is no {word} key in PEM without a password", hint)) from error
    if not isinstance(key, kind):
        raise BuildError(Problem(str(path), f"is no {word} key of ed25519", hint))
    return key
