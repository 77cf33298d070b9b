"""Read a TOML file into frozen dataclasses, and tell every problem at once, each with its line.

A field that carries ``metadata={"kind": …}`` is a key of the table: its name with ``-`` for ``_`` (a trailing ``_``
dropped), or the metadata's ``"key"``. Its kind says which values it takes. A key without a default is required.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from onnx_wasm.errors import BuildError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Place = tuple[str | int, ...]

BAD: Any = object()
"""Stands for a value that was refused, so that the checks after it can go on with the others."""


class Finding(NamedTuple):
    """A problem whose line has not been looked up yet.

    Args:
        place: The keys and indices that lead to it; a missing key's is that of its table.
        message: As in :class:`Problem`.
        hint: As in :class:`Problem`.
    """

    place: Place
    message: str
    hint: str = ""


class Text(NamedTuple):
    """A string.

    Args:
        says: What it must be, to follow "must be".
        pattern: The regular expression that all of it must match, in the syntax that Python and ECMAScript share.
        longest: Its greatest length, in characters.
    """

    says: str = "a string that is not empty"
    pattern: str = r"[^\u0000]+"
    longest: int = 1000

    def fits(self, value: object) -> bool:
        """Whether a value is such a string."""
        return isinstance(value, str) and len(value) <= self.longest and bool(re.fullmatch(self.pattern, value))

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if self.fits(value):
            return value
        return refuse(self.says, value, place, found)


class Choice(NamedTuple):
    """One of a few strings.

    Args:
        words: The strings.
    """

    words: tuple[str, ...]

    @property
    def says(self) -> str:
        *words, last = (f'"{word}"' for word in self.words)
        return f"{', '.join(words)} or {last}" if words else last

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        hint = did_you_mean(value, self.words) if isinstance(value, str) else ""
        return refuse(self.says, value, place, found, hint)


class Integer(NamedTuple):
    """A whole number.

    Args:
        least: The least that is allowed.
        most: The greatest that is allowed.
    """

    least: int = 1
    most: int = 2**31 - 1

    @property
    def says(self) -> str:
        return (
            f"the integer {self.least}" if self.least == self.most else f"an integer from {self.least} to {self.most}"
        )

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if isinstance(value, int) and not isinstance(value, bool) and self.least <= value <= self.most:
            return value
        return refuse(self.says, value, place, found)


class Either(NamedTuple):
    """A value of one kind or another.

    Args:
        kinds: The kinds, simple ones.
    """

    kinds: tuple[Integer | Choice, ...]

    @property
    def says(self) -> str:
        return " or ".join(kind.says for kind in self.kinds)

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        for kind in self.kinds:
            wrong: list[Finding] = []
            read = kind.read(value, place, wrong)
            if not wrong:
                return read
        return refuse(self.says, value, place, found)


class Number(NamedTuple):
    """An integer or a float; read as a float.

    Args:
        most: The greatest absolute value that is allowed: the greatest float32.
    """

    most: float = 3.4028234663852886e38

    @property
    def says(self) -> str:
        return "a finite number that a float32 can hold"

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and -self.most <= value <= self.most:
            return float(value)
        return refuse(self.says, value, place, found)


class Boolean(NamedTuple):
    """True or false."""

    @property
    def says(self) -> str:
        return "true or false"

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        return value if isinstance(value, bool) else refuse(self.says, value, place, found)


class List(NamedTuple):
    """An array; read as a tuple.

    Args:
        item: What each element must be.
        fewest: The least number of elements.
        most: The greatest number of elements.
        unique: Whether elements must differ.
        or_one: Whether an element may stand alone, without an array around it.
    """

    item: Kind
    fewest: int = 0
    most: int = 1000
    unique: bool = False
    or_one: bool = False

    @property
    def says(self) -> str:
        return f"{self.item.says}, or an array of them" if self.or_one else f"an array, each element {self.item.says}"

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if not isinstance(value, list):
            if self.or_one:
                item = self.item.read(value, place, found)
                return BAD if item is BAD else (item,)
            hint = f"write [[{place[-1]}]], with two brackets" if isinstance(value, dict) else ""
            return refuse(self.says, value, place, found, hint)
        if not self.fewest <= len(value) <= self.most:
            message = f"{label(place)} has {len(value)} elements; it must have {self.fewest} to {self.most}"
            found.append(Finding(place, message))
            return BAD
        items = tuple(self.item.read(item, (*place, index), found) for index, item in enumerate(value))
        if self.unique:
            for index, item in enumerate(items):
                if item is not BAD and item in items[:index]:
                    found.append(Finding((*place, index), f"{label(place)} has {_told(item)} twice"))
        return items


class Mapping(NamedTuple):
    """A table whose keys are the user's own; read as a dict in the order of its keys.

    Args:
        key: What each key must be.
        item: What each value must be.
    """

    key: Text
    item: Kind

    @property
    def says(self) -> str:
        return f"a table, each value {self.item.says}"

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if not isinstance(value, dict):
            return refuse(self.says, value, place, found)
        items = {}
        for key, item in sorted(value.items()):
            self.key.read(key, (*place, key), found)
            items[key] = self.item.read(item, (*place, key), found)
        return items


class Table(NamedTuple):
    """A table whose keys are the fields of a dataclass; read as an instance of it.

    Args:
        shape: The dataclass.
        complete: Looks at the values together once each was read: a dict by field names, in which absent keys have
            their defaults and refused values are ``BAD``. Adds what it finds wrong, and may change the dict.
    """

    shape: type
    complete: Callable[[dict[str, Any], Place, list[Finding]], None] | None = None

    @property
    def says(self) -> str:
        return "a table"

    def read(self, value: object, place: Place, found: list[Finding]) -> Any:
        if not isinstance(value, dict):
            hint = f"write [{place[-1]}], with one bracket" if isinstance(value, list) else ""
            return refuse(self.says, value, place, found, hint)
        return self.shape(**self.values(value, place, found))

    def values(self, table: dict[str, object], place: Place, found: list[Finding]) -> dict[str, Any]:
        """Read the fields' values, ``BAD`` where one is refused or missing."""
        keys = keys_of(self.shape)
        values = {}
        for key, its in keys.items():
            if key in table:
                values[its.name] = its.metadata["kind"].read(table[key], (*place, key), found)
            elif required(its):
                values[its.name] = BAD
                found.append(Finding(place, f"{label((*place, key))} is missing", _missing(its, key)))
            else:
                values[its.name] = default_of(its)
        for key in table:
            if key not in keys:
                hint = did_you_mean(key, keys) or f"the keys here are {', '.join(keys)}"
                found.append(Finding((*place, key), f"{label((*place, key))} is not a key here", hint))
        if self.complete:
            self.complete(values, place, found)
        return values


Kind = Text | Choice | Boolean | Integer | Either | Number | List | Mapping | Table


def keys_of(shape: type) -> dict[str, Field[Any]]:
    """The keys of a table, and the field that each is read into."""
    return {
        its.metadata.get("key", its.name.rstrip("_").replace("_", "-")): its
        for its in fields(shape)
        if "kind" in its.metadata
    }


def required(its: Field[Any]) -> bool:
    """Whether a key must be there."""
    return its.default is MISSING and its.default_factory is MISSING


def default_of(its: Field[Any]) -> Any:
    """What a key that may be absent is then."""
    return its.default if its.default_factory is MISSING else its.default_factory()


def refuse(says: str, value: object, place: Place, found: list[Finding], hint: str = "") -> Any:
    """Note that a value is not what it must be.

    Returns:
        ``BAD``, to go on with.
    """
    found.append(Finding(place, f"{label(place)} must be {says}, not {_told(value)}", hint))
    return BAD


def label(place: Place) -> str:
    """Name a place as users write it: ``input.shape[2]``; the line tells which ``[[input]]``."""
    parts = [part for part in place[:-1] if isinstance(part, str)]
    *_, last = place
    return ".".join(map(_key, parts)) + f"[{last}]" if isinstance(last, int) else ".".join(map(_key, (*parts, last)))


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Suggest the known word that an unknown one is close to.

    Returns:
        A hint; empty if none is close.
    """
    import difflib  # here, because a build without a problem has no use for it

    close = difflib.get_close_matches(word.lower().replace("_", "-"), words, n=1)
    return f"did you mean {close[0]}?" if close else ""


def parse(path: Path) -> tuple[str, dict[str, Any]]:
    """Read a TOML file.

    Args:
        path: The file.

    Returns:
        Its text, and the values in it.

    Raises:
        BuildError: It cannot be read, or is not TOML.
    """
    file = shown(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BuildError(Problem(file, f"cannot be read: {error.strerror}")) from None
    try:
        text = data.decode()
        return text, tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BuildError(Problem(f"{file}:{line}", "is not UTF-8 text", "is it TOML at all?")) from None
    except RecursionError:
        raise BuildError(Problem(file, "is nested too deeply")) from None
    except ValueError as error:
        raise BuildError(_syntax_problem(file, text, str(error))) from None


def where(path: Path, text: str, place: Place) -> str:
    """Tell a place in a TOML file as ``models/mnist/mnist.toml:12``.

    Args:
        path: The file.
        text: What was read from it.
        place: The keys and indices that lead to the place.
    """
    from onnx_wasm.toml_lines import lines_of, nearest  # here, because a build without a problem has no use for it

    return f"{shown(path)}:{nearest(lines_of(text), place)}"


def failure(path: Path, text: str, found: Iterable[Finding]) -> BuildError:
    """Make the error that tells what was found, in the order of the file's lines.

    Args:
        path: The file.
        text: What was read from it.
        found: What is wrong with it.
    """
    from onnx_wasm.toml_lines import lines_of, nearest

    lines = lines_of(text)
    placed = sorted(((nearest(lines, its.place), its) for its in found), key=lambda pair: pair[0])
    return BuildError(Problem(f"{shown(path)}:{line}", its.message, its.hint) for line, its in placed)


def shown(path: Path) -> str:
    """Write a path as the user knows it: as given, or from the current directory if it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _syntax_problem(place: str, text: str, error: str) -> Problem:
    message = re.sub(r" \(at .*\)$", "", error)
    position = re.search(r"\(at line (\d+), column (\d+)\)$", error)
    if position:
        place = f"{place}:{position[1]}:{position[2]}"
    elif error.endswith("(at end of document)"):
        last = text.rstrip("\n").split("\n")
        place = f"{place}:{len(last)}:{len(last[-1]) + 1}"
    hint = {
        "Invalid value": 'text stands in quotes: name = "mnist"',
        "Cannot overwrite a value": "each key and each [table] may stand only once",
    }.get(message, "")
    return Problem(place, f"is not TOML: {message[0].lower()}{message[1:]}", hint)


def _missing(its: Field[Any], key: str) -> str:
    kind = its.metadata["kind"]
    return f"write [{key}] and its keys" if isinstance(kind, Table) else f"it must be {kind.says}"


def _key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _quoted(key)


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= 60 else f"{text[:60]}…", ensure_ascii=False)


def _told(value: object) -> str:
    """Tell a value in TOML's terms."""
    match value:
        case str():
            return f"the string {_quoted(value)}"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int():
            return f"the integer {value}" if abs(value) < 2**64 else "an integer beyond 64 bits"
        case float():
            return f"the float {value}"
        case list():
            return "an array"
        case dict():
            return "a table"
        case None:  # which TOML does not have, but JSON
            return "null"
        case _:
            return {"datetime": "a date-time", "date": "a date", "time": "a time"}[type(value).__name__]
