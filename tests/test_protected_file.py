"""Files of the schema teaclave-file-128: read and written as an implementation of the tests' own does it."""

from __future__ import annotations

import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB, GCM
from hypothesis import given, settings
from hypothesis import strategies as st

from onnx_wasm.teaclave import protected_file
from onnx_wasm.teaclave.file_crypto import CryptoError, FileCrypto
from onnx_wasm.teaclave.protected_file import BrokenFileError

KEY = bytes(range(16))
NODE = 4096
FIRST = 3072  # bytes of content in the first node
SIZES = [0, 1, FIRST, FIRST + 1, FIRST + NODE, FIRST + NODE + 1]
LARGE = [FIRST + 96 * NODE, FIRST + 96 * NODE + 1, FIRST + 98 * NODE, FIRST + 34 * 96 * NODE + 7]


def content(size: int) -> bytes:
    return hashlib.shake_128(str(size).encode()).digest(size)


def aes(key: bytes, block: bytes) -> bytes:
    encryptor = Cipher(AES(key), ECB()).encryptor()
    return encryptor.update(block) + encryptor.finalize()


def cmac(key: bytes, message: bytes) -> bytes:
    """RFC 4493, for messages that do not fill their last block."""

    def doubled(value: int) -> int:
        return (value << 1 ^ (0x87 if value >> 127 else 0)) & (1 << 128) - 1

    assert len(message) % 16
    padded = (message + b"\x80").ljust(-(-len(message) // 16) * 16, b"\0")
    *blocks, last = (int.from_bytes(padded[at : at + 16]) for at in range(0, len(padded), 16))
    state = 0
    for block in blocks:
        state = int.from_bytes(aes(key, (state ^ block).to_bytes(16)))
    subkey = doubled(doubled(int.from_bytes(aes(key, bytes(16)))))
    return aes(key, (state ^ last ^ subkey).to_bytes(16))


def seal(key: bytes, plain: bytes) -> tuple[bytes, bytes]:
    encryptor = Cipher(AES(key), GCM(bytes(12))).encryptor()
    return encryptor.update(plain) + encryptor.finalize(), encryptor.tag


def write(data: bytes, key: bytes, name: str) -> tuple[bytes, bytes]:
    """Writes a file from front to back, a group of 96 data nodes at a time, as the SDK's own code appends.

    Returns:
        The file, and its tag.
    """
    key_of = lambda place: hashlib.sha256(place.to_bytes(8)).digest()[:16]  # noqa: E731
    rest = data[FIRST:]
    pieces = [rest[at : at + NODE].ljust(NODE, b"\0") for at in range(0, len(rest), NODE)]
    groups = [pieces[at : at + 96] for at in range(0, len(pieces), 96)]
    entries = [[b""] * 128 for _ in groups]
    sealed: dict[int, bytes] = {}
    for number, group in enumerate(groups):
        for index, piece in enumerate(group):
            place = 2 + number * 97 + index
            sealed[place], tag = seal(key_of(place), piece)
            entries[number][index] = key_of(place) + tag
    root = bytes(32)
    for number in reversed(range(len(groups))):
        place = 1 + number * 97
        plain = b"".join(entry.ljust(32, b"\0") for entry in entries[number])
        sealed[place], tag = seal(key_of(place), plain)
        if number:
            entries[(number - 1) // 32][96 + (number - 1) % 32] = key_of(place) + tag
        else:
            root = key_of(place) + tag
    secret = name.encode().ljust(260, b"\0") + struct.pack("<Q", len(data)) + root + data[:FIRST].ljust(FIRST, b"\0")
    nonce = hashlib.sha256(b"key id").digest()
    label = b"SGX-PROTECTED-FS-METADATA-KEY".ljust(64, b"\0")
    derivation = struct.pack("<I", 1) + label + bytes(4) + bytes(8) + nonce + struct.pack("<I", 128) + bytes(4)
    sealed_secret, tag = seal(cmac(key, derivation), secret)
    head = b"ELIF_XGS" + bytes([1, 0, 1, 0]) + bytes(4) + nonce + bytes(32) + tag
    sealed[0] = (head + sealed_secret).ljust(NODE, b"\0")
    return b"".join(sealed[place] for place in sorted(sealed)), tag


@pytest.mark.parametrize("size", [*SIZES, *LARGE])
def test_what_others_wrote_is_read(size: int) -> None:
    data, tag = write(content(size), KEY, "img.enc")
    assert protected_file.decrypt(data, KEY) == ("img.enc", content(size), tag)


@pytest.mark.parametrize("size", [*SIZES, *LARGE])
def test_what_is_written_has_the_size_of_others_and_is_read(size: int) -> None:
    data, tag = protected_file.encrypt(content(size), KEY, "img.enc")
    assert len(data) == len(write(content(size), KEY, "img.enc")[0])
    assert protected_file.decrypt(data, KEY) == ("img.enc", content(size), tag)
    assert protected_file.encrypt(content(size), KEY, "img.enc")[0] != data, "keys are fresh"


@pytest.mark.parametrize("size", [100, FIRST + 3 * NODE])
def test_no_byte_of_what_counts_can_be_altered(size: int) -> None:
    data, _ = write(content(size), KEY, "img.enc")
    free = {*range(12, 16), *range(48, 80), *range(96 + 3372, NODE)}  # nothing reads it, nothing vouches for it
    for at in range(0, len(data), 61):
        altered = data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]
        if at in free:
            assert protected_file.decrypt(altered, KEY)[1] == content(size)
        else:
            with pytest.raises(BrokenFileError):
                protected_file.decrypt(altered, KEY)


def test_another_key_and_shorter_files_are_refused() -> None:
    data, _ = write(content(20_000), KEY, "img.enc")
    with pytest.raises(BrokenFileError, match="was altered, or encrypted with another key"):
        protected_file.decrypt(data, bytes(16))
    with pytest.raises(BrokenFileError, match="too short for the 20000 bytes"):
        protected_file.decrypt(data[:-NODE], KEY)
    with pytest.raises(BrokenFileError, match="no whole number of nodes"):
        protected_file.decrypt(data[:-1], KEY)
    with pytest.raises(BrokenFileError, match="was being written"):
        protected_file.decrypt(data[:11] + b"\1" + data[12:], KEY)
    with pytest.raises(BrokenFileError, match="not encrypted with a key"):
        protected_file.decrypt(data[:10] + b"\0" + data[11:], KEY)


@given(st.binary(max_size=3 * NODE))
@settings(max_examples=100)
def test_other_bytes_are_no_such_file(data: bytes) -> None:
    with pytest.raises(BrokenFileError):
        protected_file.decrypt(data.ljust(-(-len(data) // NODE) * NODE, b"\0"), KEY)


def test_a_file_opens_under_its_own_name_and_tag_only() -> None:
    data, tag = write(content(10), KEY, "img.enc")
    crypto = FileCrypto("teaclave-file-128", KEY, b"")
    assert crypto.decrypt(data, tag, "img.enc") == content(10)
    with pytest.raises(CryptoError, match=r'was written as "img\.enc", and opens under no other name'):
        crypto.decrypt(data, tag, "other.enc")
    with pytest.raises(CryptoError, match="it was registered with 0000"):
        crypto.decrypt(data, bytes(16), "img.enc")
    with pytest.raises(CryptoError, match="cannot have a name of 300 bytes"):
        crypto.encrypt(b"", "x" * 300)
