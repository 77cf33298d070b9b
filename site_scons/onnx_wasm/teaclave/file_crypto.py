"""How the files of a task are encrypted: Teaclave's schemas.

Read from ``types/src/crypto.rs``, ``crypto/src/lib.rs`` and ``services/execution`` of apache/incubator-teaclave (branch
legacy).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from onnx_wasm.teaclave import protected_file

TAG = 16
"""Bytes of the tag that vouches for a file: Teaclave's ``cmac``."""

_PROTECTED = "teaclave-file-128"
_RAW = "raw"
_KEY_AND_NONCE = {"aes-gcm-128": (16, 12), "aes-gcm-256": (32, 12), _PROTECTED: (16, 0), _RAW: (0, 0)}
_ASSOCIATED = bytes(8)  # Teaclave authenticates eight zeros along with the content


class CryptoError(Exception):
    """A file cannot be encrypted or decrypted so; its text says why."""


@dataclass(frozen=True)
class FileCrypto:
    """How one file is encrypted.

    Args:
        schema: ``aes-gcm-128``, ``aes-gcm-256``, ``teaclave-file-128``, or, for inputs, ``raw``.
        key: 16 bytes, or 32 for ``aes-gcm-256``; none for ``raw``.
        iv: 12 bytes for AES-GCM, none for the others.

    Raises:
        CryptoError: There is no such schema, or key or iv have another length.
    """

    schema: str
    key: bytes = field(repr=False)
    iv: bytes

    def __post_init__(self) -> None:
        """Checks the schema and the lengths that it asks for."""
        if self.schema not in _KEY_AND_NONCE:
            raise CryptoError(f"Invalid crypto schema: {self.schema}. Known are {', '.join(_KEY_AND_NONCE)}")
        lengths = {"key": (len(self.key), self._lengths[0]), "iv": (len(self.iv), self._lengths[1])}
        for name, (given, wanted) in lengths.items():
            if given != wanted and self.schema != _RAW:
                raise CryptoError(f"Invalid {name} length for {self.schema}: {given}, not {wanted}")

    @classmethod
    def random(cls) -> FileCrypto:
        """How a file is encrypted that nobody outside reads: with a key of its own."""
        return cls(_PROTECTED, secrets.token_bytes(16), b"")

    @property
    def _lengths(self) -> tuple[int, int]:
        return _KEY_AND_NONCE[self.schema]

    @property
    def writes(self) -> bool:
        """Whether outputs can be encrypted so."""
        return self.schema != _RAW

    def decrypt(self, data: bytes, tag: bytes, name: str) -> bytes:
        """Decrypts an input.

        Args:
            data: The file.
            tag: What it was registered with.
            name: The last part of its address, which a protected file must have been written under.

        Returns:
            Its content.

        Raises:
            CryptoError: It was altered, or it is another file, or encrypted otherwise.
        """
        if self.schema == _RAW:
            return data
        if self.schema == _PROTECTED:
            return self._decrypt_protected(data, tag, name)
        if len(data) <= TAG:
            raise CryptoError(f"{name}: {len(data)} bytes are too short for {self.schema}")
        if data[-TAG:] != tag:
            raise CryptoError(f"{name}: its tag is {data[-TAG:].hex()}, it was registered with {tag.hex()}")
        try:
            return AESGCM(self.key).decrypt(self.iv, data, _ASSOCIATED)
        except InvalidTag:
            raise CryptoError(f"{name}: was altered, or encrypted with another key or iv") from None

    def encrypt(self, content: bytes, name: str) -> tuple[bytes, bytes]:
        """Encrypts an output.

        Args:
            content: What it holds.
            name: The last part of its address.

        Returns:
            The file, and its tag.

        Raises:
            CryptoError: The schema is for inputs only, or the name too long for it.
        """
        if self.schema == _PROTECTED:
            try:
                return protected_file.encrypt(content, self.key, name)
            except protected_file.BrokenFileError as error:
                raise CryptoError(f"{name}: {error}") from error
        if not self.writes:
            raise CryptoError(f"{name}: {self.schema} is for inputs only")
        data = AESGCM(self.key).encrypt(self.iv, content, _ASSOCIATED)
        return data, data[-TAG:]

    def _decrypt_protected(self, data: bytes, tag: bytes, name: str) -> bytes:
        try:
            written_as, content, its_tag = protected_file.decrypt(data, self.key)
        except protected_file.BrokenFileError as error:
            raise CryptoError(f"{name}: {error}") from error
        if written_as != name:
            raise CryptoError(f'{name}: was written as "{written_as}", and opens under no other name')
        if its_tag != tag:
            raise CryptoError(f"{name}: its tag is {its_tag.hex()}, it was registered with {tag.hex()}")
        return content
