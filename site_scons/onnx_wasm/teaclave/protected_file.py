"""Files of the schema ``teaclave-file-128``: Intel's Protected File System, as Teaclave's SGX SDK writes it.

A file is a row of nodes of 4096 bytes. The first holds the metadata: in plain text what it takes to derive its key, and
encrypted the file's name, its size, the first 3072 bytes of content, and key and tag of the root of a Merkle tree. The
rest of the content is in data nodes. Each tree node holds keys and tags of up to 96 data nodes, which follow it, and of
up to 32 tree nodes below it. Every node is encrypted with AES-128-GCM, each time with a fresh key, so the nonce is
zero. The tag of the metadata vouches for the whole file: it is the ``cmac`` that a client registers.

Read from ``sgx_protected_fs/tfs/src/sys`` of apache/incubator-teaclave-sgx-sdk (2.0), which differs from Intel's own
layout in the order of the plain metadata and in having no monotonic counter.
"""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

NODE = 4096
"""Bytes of a node."""

HELD = NODE * 3 // 4
"""Bytes of content that the metadata hold."""

CHILDREN = 96
"""Data nodes that hang on one tree node."""

BRANCHES = 32
"""Tree nodes that hang on one tree node."""

_NONCE = bytes(12)
_KEY = 16
_PAIR = 2 * _KEY  # a key and a tag
_NAME = 260

# file id, major and minor version, how it is encrypted (1: a key of the user's), whether an update broke off, key
# policy, isv svn, key id, cpu svn, attributes, tag of what follows
_PLAIN = struct.Struct("<Q4BHH32s16s16s16s")
_MAGIC = 0x5347_585F_4649_4C45
_VERSION = (1, 0)
_USER_KEY = 1

_SECRET = struct.Struct(f"<{_NAME}sQ{_KEY}s{_KEY}s{HELD}s")
"""Name, size, key and tag of the tree's root, the first bytes of content."""

_DERIVED = struct.Struct("<I64sIQ32sII")
"""What a key is derived from: 1, a label, padding, the node's number, a nonce, the key's bits, padding."""


class BrokenFileError(Exception):
    """The bytes are no such file, or were not encrypted with this key, or were altered."""


def decrypt(data: bytes, key: bytes) -> tuple[str, bytes, bytes]:
    """Reads a protected file.

    Args:
        data: The whole file.
        key: The user's key, 16 bytes.

    Returns:
        The name that it was written under, its content, and its tag.

    Raises:
        BrokenFileError: Any of it does not hold.
    """
    if len(data) < NODE or len(data) % NODE:
        raise BrokenFileError(f"is not a protected file: {len(data)} bytes are no whole number of nodes of {NODE}")
    magic, major, minor, flags, updating, _, _, key_id, _, _, tag = _PLAIN.unpack_from(data)
    if magic != _MAGIC or (major, minor) != _VERSION:
        raise BrokenFileError("is not a protected file of version 1.0")
    if flags != _USER_KEY:
        raise BrokenFileError("is not encrypted with a key of the user's")
    if updating:
        raise BrokenFileError("was being written when its writer ended")
    secret = _open(_derive(key, key_id), data[_PLAIN.size : _PLAIN.size + _SECRET.size], tag)
    name, size, root_key, root_tag, held = _SECRET.unpack(secret)
    count = _data_nodes(size)
    if len(data) < NODE * _nodes(count):
        raise BrokenFileError(f"is too short for the {size} bytes of content that it announces")
    parts = [held, *_read_tree(data, count, root_key + root_tag)]
    return name.partition(b"\0")[0].decode(errors="replace"), b"".join(parts)[:size], tag


def encrypt(content: bytes, key: bytes, name: str) -> tuple[bytes, bytes]:
    """Makes a protected file.

    Args:
        content: What it holds.
        key: The user's key, 16 bytes.
        name: The name that it will have: Teaclave opens it under no other.

    Returns:
        The file, and its tag.

    Raises:
        BrokenFileError: The name is too long.
    """
    encoded = name.encode()
    if len(encoded) >= _NAME - 1:
        raise BrokenFileError(f"cannot have a name of {len(encoded)} bytes")
    count = _data_nodes(len(content))
    nodes: dict[int, bytes] = {}
    root = _write_tree(nodes, content, count) if count else bytes(_PAIR)
    secret = _SECRET.pack(encoded, len(content), root[:_KEY], root[_KEY:], content[:HELD])
    key_id = secrets.token_bytes(32)
    sealed = AESGCM(_derive(key, key_id)).encrypt(_NONCE, secret, None)
    tag = sealed[-_KEY:]
    plain = _PLAIN.pack(_MAGIC, *_VERSION, _USER_KEY, 0, 0, 0, key_id, bytes(16), bytes(16), tag)
    nodes[0] = (plain + sealed[:-_KEY]).ljust(NODE, b"\0")
    return b"".join(nodes[number] for number in range(_nodes(count))), tag


def _derive(key: bytes, key_id: bytes) -> bytes:
    """The key of the metadata."""
    derivation = CMAC(AES(key))
    derivation.update(_DERIVED.pack(1, b"SGX-PROTECTED-FS-METADATA-KEY", 0, 0, key_id, 8 * _KEY, 0))
    return derivation.finalize()


def _open(key: bytes, sealed: bytes, tag: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(_NONCE, sealed + tag, None)
    except InvalidTag:
        raise BrokenFileError("was altered, or encrypted with another key") from None


def _data_nodes(size: int) -> int:
    return -(-max(0, size - HELD) // NODE)


def _trees(count: int) -> int:
    return -(-count // CHILDREN)


def _nodes(count: int) -> int:
    """Nodes of a file with so many data nodes: the metadata, the tree, the data."""
    return 1 + _trees(count) + count


def _tree_place(tree: int) -> int:
    return 1 + tree * (CHILDREN + 1)


def _data_place(index: int) -> int:
    return 2 + index + index // CHILDREN


def _pair_of_tree(tree: int) -> int:
    """Where a tree node's parent keeps its key and tag; the parent is number ``(tree - 1) // BRANCHES``."""
    return (CHILDREN + (tree - 1) % BRANCHES) * _PAIR


def _read_tree(data: bytes, count: int, root: bytes) -> Iterator[bytes]:
    """The content of every data node, in order."""

    def node(place: int, pair: bytes) -> bytes:
        return _open(pair[:_KEY], data[place * NODE : (place + 1) * NODE], pair[_KEY:])

    trees: list[bytes] = []
    for tree in range(_trees(count)):
        at = _pair_of_tree(tree)
        trees.append(node(_tree_place(tree), trees[(tree - 1) // BRANCHES][at : at + _PAIR] if tree else root))
    for index in range(count):
        at = index % CHILDREN * _PAIR
        yield node(_data_place(index), trees[index // CHILDREN][at : at + _PAIR])


def _write_tree(nodes: dict[int, bytes], content: bytes, count: int) -> bytes:
    """Encrypts all nodes but the metadata, from the leaves to the root, and gives the root's key and tag."""

    def seal(place: int, plain: bytes) -> bytes:
        key = secrets.token_bytes(_KEY)
        sealed = AESGCM(key).encrypt(_NONCE, plain, None)
        nodes[place] = sealed[:NODE]
        return key + sealed[NODE:]

    trees = [bytearray(NODE) for _ in range(_trees(count))]
    for index in range(count):
        start, at = HELD + index * NODE, index % CHILDREN * _PAIR
        plain = content[start : start + NODE].ljust(NODE, b"\0")
        trees[index // CHILDREN][at : at + _PAIR] = seal(_data_place(index), plain)
    for tree in reversed(range(1, len(trees))):
        at = _pair_of_tree(tree)
        trees[(tree - 1) // BRANCHES][at : at + _PAIR] = seal(_tree_place(tree), bytes(trees[tree]))
    return seal(_tree_place(0), bytes(trees[0]))
