"""Mutants of ONNX files and manifests: what a careless exporter, a bad download or an enemy may hand in.

Most have a field of a message or a value of the manifest changed, so that they can still be read and get far; the
others have bytes changed. Everything is drawn from the random numbers given: the same ones give the same mutant.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

import onnx
from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_INTEGERS = (*(0, 1, -1, 2, 3, 7, 64, 127, 128, 255, 256, 65535, 10**6), *(2**31 - 1, -(2**31), 2**40, 2**63 - 1))
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, float("inf"), float("-inf"), float("nan"))
_TEXTS = ("", " ", "x", "\0", "\n", "..", "/", "$x", "ai.onnx.ml", "com.example", "NOTSET", "ünï", "x" * 300)
_LITERALS = (
    *("0", "1", "-1", "3", "2147483648", "9223372036854775807", "1e999", "nan", "-inf", "0.5", "true", '""', '"x"'),
    *('"../x"', '"/x"', '"a$b"', '"\\u0000"', "[]", "[0]", "[1, 1]", "[[]]", "[1e9, 1e9]", "{}", "{ x = 1 }"),
    *("1979-05-27", "[" * 1000, "'''"),
)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_OPERATORS = tuple(sorted({it.name for it in onnx.defs.get_all_schemas()}))
_CHANGES = (1, 1, 2, 4)
_OF_BYTES = 0.2


def of_model(data: bytes, random: Random, other: bytes) -> bytes:
    """A mutant of an ONNX file.

    Args:
        data: The file.
        random: What the changes are drawn from.
        other: Another file, which parts are taken from.
    """
    if random.random() < _OF_BYTES:
        return of_bytes(data, random)
    model, donor = onnx.ModelProto.FromString(data), onnx.ModelProto.FromString(other)
    for _ in range(random.choice(_CHANGES)):
        _change(model, random, donor)
    return bytes(model.SerializeToString())


def of_manifest(text: str, random: Random) -> bytes:
    """A mutant of a manifest.

    Args:
        text: The manifest.
        random: What the changes are drawn from.
    """
    if random.random() < _OF_BYTES:
        return of_bytes(text.encode(), random)
    lines = text.splitlines()
    for _ in range(random.choice(_CHANGES)):
        at = random.randrange(len(lines))
        lines[at : at + 1] = _in_place_of(lines[at], random.choice(lines), random)
    return "\n".join([*lines, ""]).encode()


def of_bytes(data: bytes, random: Random) -> bytes:
    """A mutant of any bytes: some are flipped, left out, repeated or new.

    Args:
        data: The bytes.
        random: What the changes are drawn from.
    """
    made = bytearray(data)
    for _ in range(random.choice((1, 2, 8, 32))):
        at = random.randrange(len(made) + 1)
        part = slice(at, min(len(made), at + random.choice((1, 1, 4, 64))))
        new = (bytes(255 - it for it in made[part]), b"", made[part] * 2, random.randbytes(4) + made[part], b"\xff" * 9)
        made[part] = random.choice(new)
    return bytes(made[: random.randrange(len(made) + 1)] if random.random() < 0.1 else made)


# Messages of protobuf


def _change(model: Message, random: Random, donor: Message) -> None:
    """Changes one field of one message, as a rule one that is there."""
    message = random.choice(list(_messages(model)))
    used = [field for field, _ in message.ListFields()]
    field = random.choice(used if used and random.random() < 0.9 else list(message.DESCRIPTOR.fields))
    if field.is_repeated:
        _change_list(getattr(message, field.name), field, random, (model, donor))
    elif random.random() < 0.1:
        message.ClearField(field.name)
    elif field.message_type is not None:
        getattr(message, field.name).CopyFrom(_of_type(field, random, (model, donor)))
    else:
        setattr(message, field.name, _value(field, getattr(message, field.name), random, model))


def _change_list(items: Any, field: FieldDescriptor, random: Random, models: Sequence[Message]) -> None:
    made = [_copy(it) for it in items]
    at = random.randrange(len(made) + 1)
    old = made[at : at + 1]
    if field.message_type is not None:
        new = [_of_type(field, random, models)]
    else:
        new = [_value(field, it, random, models[0]) for it in old or [field.default_value or _zero(field)]]
    made[at : at + 1] = random.choice(([], [*old, *map(_copy, old)], [*new, *old], new, list(reversed(made[at:]))))
    del items[:]
    items.extend(made)


def _messages(message: Message) -> Iterator[Message]:
    """A message and all that are in it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _copy(item: Any) -> Any:
    return type(item).FromString(item.SerializePartialToString()) if isinstance(item, Message) else item


def _of_type(field: FieldDescriptor, random: Random, models: Sequence[Message]) -> Message:
    """A message that a field can hold: one of a model's, or an empty one."""
    alike = [it for it in _messages(random.choice(models)) if it.DESCRIPTOR is field.message_type]
    made: Message = _copy(random.choice(alike)) if alike else message_factory.GetMessageClass(field.message_type)()
    return made


def _zero(field: FieldDescriptor) -> Any:
    return {FieldDescriptor.TYPE_BYTES: b"", FieldDescriptor.TYPE_STRING: ""}.get(field.type, 0)


def _value(field: FieldDescriptor, old: Any, random: Random, model: Message) -> Any:
    """A value for a field that holds no message."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return of_bytes(old, random)
    if field.type == FieldDescriptor.TYPE_STRING:
        known = _OPERATORS if field.name == "op_type" else _names(model)
        return random.choice(known if random.random() < 0.7 else _TEXTS)
    if field.enum_type is not None:
        return random.choice(field.enum_type.values).number
    if field.cpp_type in _RANGES:
        least, most = _RANGES[field.cpp_type]
        return min(most, max(least, random.choice((*_INTEGERS, old + 1, old - 1, -old, old * 2, random.randrange(24)))))
    return random.choice((*_FLOATS, -old, old * 2))


def _names(model: Message) -> list[str]:
    """The names of a model's tensors."""
    nodes = [it for it in _messages(model) if isinstance(it, onnx.NodeProto)]
    return ["", *(name for node in nodes for name in (*node.input, *node.output))]


# Lines of TOML


def _in_place_of(line: str, other: str, random: Random) -> list[str]:
    """What a line of a manifest becomes, where ``other`` is another of its lines."""
    key, _, value = other.partition("=")
    return random.choice(
        (
            [],
            [line, line],
            [other, line],
            [re.sub(r"[0-9]+", lambda _: str(random.choice(_INTEGERS)), line)],
            [line.replace(random.choice(line or " "), "", 1)],
            [f"{line.partition('=')[0]}={value}"],
            [f"{line.partition('=')[0]}= {random.choice(_LITERALS)}"],
            [f"{key}= {random.choice(_LITERALS)}"],
        )
    )
