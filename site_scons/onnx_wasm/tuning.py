"""Tuning: kernels by their extents, the ways and tiles that each may be computed with, and the files that say which.

A record says how one kernel is computed on one platform. What was measured is in its ``gain``, which no build reads.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnx_wasm import toml_tables
from onnx_wasm.errors import BuildError, Problem
from onnx_wasm.platforms import PLATFORMS, Platform
from onnx_wasm.toml_tables import BAD, Finding, Integer, List, Number, Place, Table, refuse, shown

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 1
_LANES = 4
_MOST_RESULTS = 48
"""Twelve vector registers full: what 16 registers leave beside the operands."""

_MOST_ROWS = 8
_EXTENT = Integer()
_PAIR = List(_EXTENT, 2, 2)


@dataclass(frozen=True)
class Tile:
    """How many results one pass of the innermost loop accumulates."""

    rows: int
    columns: int

    @property
    def attributes(self) -> dict[str, list[int]]:
        """The tile as annotations of a block."""
        return {"tile": [self.rows, self.columns]}


TILES = tuple(
    Tile(rows, columns)
    for columns in range(_LANES, _MOST_RESULTS + 1, _LANES)
    for rows in range(1, min(_MOST_ROWS, _MOST_RESULTS // columns) + 1)
)
"""All that a record may ask for."""


@dataclass(frozen=True)
class Choice:
    """How a kernel is computed.

    Args:
        way: Of those that the kernel has.
        tile: Of those that it has for this way.
    """

    way: str
    tile: Tile


DTYPES = ("float32", "int32")
"""What kernels sum up: floats, or products of bytes less their zero points."""


@dataclass(frozen=True, kw_only=True)
class _Summed:
    """What all kernels are told apart by.

    Args:
        dtype: Of ``DTYPES``.
    """

    dtype: str = field(default=DTYPES[0], metadata={"kind": toml_tables.Choice(DTYPES)})


@dataclass(frozen=True)
class _Matrices(_Summed):
    """Products of matrices as they stand."""

    @property
    def ways(self) -> tuple[str, ...]:
        """Those they can be computed in, by name."""
        return ("product",)


@dataclass(frozen=True)
class Product(_Matrices):
    """A matrix [rows, depth] times known weights [depth, columns]: a dense layer, or a convolution of 1×1."""

    rows: int = field(metadata={"kind": _EXTENT})
    depth: int = field(metadata={"kind": _EXTENT})
    columns: int = field(metadata={"kind": _EXTENT})

    def tiles(self, _way: str) -> list[Tile]:
        """Those it can be computed with."""
        return [it for it in TILES if it.rows <= self.rows]

    @property
    def size(self) -> tuple[int, int]:
        """Multiplications, and numbers that are known."""
        return self.rows * self.depth * self.columns, self.depth * self.columns


@dataclass(frozen=True)
class Batched(_Matrices):
    """Matrices [batch, rows, depth] times others [batch, depth, columns], none of them known."""

    batch: int = field(metadata={"kind": _EXTENT})
    rows: int = field(metadata={"kind": _EXTENT})
    depth: int = field(metadata={"kind": _EXTENT})
    columns: int = field(metadata={"kind": _EXTENT})

    def tiles(self, _way: str) -> list[Tile]:
        """Those it can be computed with: nothing is packed, so there is nothing behind the last column."""
        return [it for it in TILES if it.rows <= self.rows and self.columns % it.columns == 0]

    @property
    def size(self) -> tuple[int, int]:
        """Multiplications, and numbers that are known."""
        return self.batch * self.rows * self.depth * self.columns, 0


@dataclass(frozen=True)
class Convolution(_Summed):
    """A convolution in two dimensions that is more than a product: neither of 1×1, nor of each channel by itself.

    Args:
        picture: N, H, W, C.
        weights: Output channels, then height and width of the window.
        strides: Steps of the window, down and right.
        dilation: Distance between two of its taps, down and right.
        padding: Top, left, bottom, right.
        groups: The number of groups of channels.
    """

    picture: tuple[int, int, int, int] = field(metadata={"kind": List(_EXTENT, 4, 4)})
    weights: tuple[int, int, int] = field(metadata={"kind": List(_EXTENT, 3, 3)})
    strides: tuple[int, int] = field(metadata={"kind": _PAIR})
    dilation: tuple[int, int] = field(metadata={"kind": _PAIR})
    padding: tuple[int, int, int, int] = field(metadata={"kind": List(Integer(0), 4, 4)})
    groups: int = field(metadata={"kind": _EXTENT})

    @property
    def out(self) -> tuple[int, int]:
        """The output's height and width."""
        before, behind = self.padding[:2], self.padding[2:]
        height, width = (
            (extent + first + last - dilation * (taps - 1) - 1) // stride + 1
            for extent, first, last, taps, dilation, stride in zip(
                self.picture[1:3], before, behind, self.weights[1:], self.dilation, self.strides, strict=True
            )
        )
        return height, width

    @property
    def ways(self) -> tuple[str, ...]:
        """Those it can be computed in, by name: by Winograd's F(m×m), of what its windows see, or as it stands."""
        if self.groups > 1:
            return ("grouped",)
        columns, *taps = self.weights
        plain = self.strides == self.dilation == (1, 1) and self.picture[3] % _LANES == columns % _LANES == 0
        plain = plain and self.dtype == "float32"
        outputs = {(3, 3): (2, 4), (5, 5): (2,)}.get((taps[0], taps[1]), ()) if plain else ()
        gathered = ("gathered",) if self.dilation[1] == 1 else ()
        return (*(f"winograd-{it}" for it in outputs), *gathered, "direct")

    def tiles(self, way: str) -> list[Tile]:
        """Those it can be computed with in a way."""
        each = int(way.partition("-")[2] or 1)
        height, width = (-(-extent // each) for extent in self.out)
        return [it for it in TILES if it.rows <= self.picture[0] * height * width]

    @property
    def size(self) -> tuple[int, int]:
        """Multiplications, and numbers that are known."""
        columns, *taps = self.weights
        weights = columns * taps[0] * taps[1] * self.picture[3] // self.groups
        return self.picture[0] * self.out[0] * self.out[1] * weights, weights


Kernel = Product | Batched | Convolution
Choose = Callable[[Kernel], Choice | None]
"""How a kernel is to be computed; None where a rule of the compiler's says it."""

_KERNELS: Mapping[str, type[Kernel]] = {"product": Product, "batched": Batched, "convolution": Convolution}


def told(kernel: Kernel) -> str:
    """A kernel for people: ``product 3136×64×64``."""
    extents = dataclasses.asdict(kernel)
    of = "" if extents.pop("dtype") == "float32" else " of integers"
    if not isinstance(kernel, Convolution):
        return f"{name_of(kernel)} {'×'.join(map(str, extents.values()))}{of}"
    picture, (columns, *taps) = kernel.picture, kernel.weights
    groups = f" in {kernel.groups} groups" if kernel.groups > 1 else ""
    return f"convolution {'×'.join(map(str, picture))} by {'×'.join(map(str, taps))} to {columns} channels{groups}{of}"


def name_of(kernel: Kernel) -> str:
    """The kind of a kernel, as files and people call it."""
    return next(name for name, shape in _KERNELS.items() if isinstance(kernel, shape))


@dataclass(frozen=True)
class Record:
    """How a kernel is computed where a module runs.

    Args:
        kernel: The kernel.
        platform: The platform's name.
        features: Its optional features that the module uses.
        choice: How it is computed; None for as without a record, where nothing else was quicker.
        gain: How many times as quick that was as without a record; for people.
    """

    kernel: Kernel
    platform: str
    features: tuple[str, ...]
    choice: Choice | None
    gain: float

    @property
    def key(self) -> tuple[Kernel, str, tuple[str, ...]]:
        """What it is about."""
        return self.kernel, self.platform, self.features


def place_of(platform: Platform) -> tuple[str, tuple[str, ...]]:
    """A platform as records name it: its name, and its optional features that are in use."""
    return platform.name, tuple(it for it in platform.optional_features if it in platform.features)


def chooser(records: Iterable[Record], platform: Platform) -> Choose:
    """Makes what answers passes.

    Args:
        records: Of several about the same, the first counts.
        platform: Where the module runs, with the features that it uses.
    """
    place = place_of(platform)
    known: dict[Kernel, Choice | None] = {}
    for it in records:
        if (it.platform, it.features) == place:
            known.setdefault(it.kernel, it.choice)
    return known.get


def load(path: Path) -> list[Record]:
    """Reads a tuning file.

    Args:
        path: The file.

    Raises:
        BuildError: It cannot be read, or says what it cannot say: all of that, with file and line.
    """
    file = shown(path)
    try:
        text = path.read_text(encoding="utf-8")
        tables = json.loads(text, parse_constant=_refused)
    except OSError as error:
        raise BuildError(Problem(file, f"cannot be read: {error.strerror}")) from None
    except UnicodeDecodeError:
        raise BuildError(Problem(file, "is not UTF-8 text")) from None
    except json.JSONDecodeError as error:
        raise BuildError(Problem(f"{file}:{error.lineno}:{error.colno}", f"is not JSON: {error.msg}")) from None
    except (ValueError, RecursionError):
        raise BuildError(Problem(file, "is not JSON that records could be in", _ANEW)) from None
    found: list[Finding] = []
    records = _records(tables, found)
    if found:
        lines = _lines(text)
        raise BuildError(Problem(f"{file}:{_line(lines, it.place)}", it.message, it.hint) for it in found)
    return records


def load_all(paths: Iterable[Path]) -> list[Record]:
    """Reads tuning files as ``load`` does, and tells what is wrong with any of them."""
    records: list[Record] = []
    problems: list[Problem] = []
    for path in paths:
        try:
            records += load(path)
        except BuildError as error:
            problems += error.problems
    if problems:
        raise BuildError(problems)
    return records


def dumps(records: Iterable[Record]) -> str:
    """Writes records as a tuning file has them: sorted, one a line."""
    lines = sorted(f"  {json.dumps(_as_table(it))}" for it in records)
    return "\n".join([f'{{"schema-version": {SCHEMA_VERSION}, "records": [', ",\n".join(lines), "]}", ""])


_ANEW = "<model>.tune writes such files"


@dataclass(frozen=True)
class _How:
    """The keys of a record that say where and how."""

    platform: str = field(metadata={"kind": toml_tables.Choice(tuple(PLATFORMS))})
    features: tuple[str, ...] = field(metadata={"kind": List(toml_tables.Text(), unique=True)})
    gain: float = field(metadata={"kind": Number()})
    way: str | None = field(default=None, metadata={"kind": toml_tables.Text()})
    tile: tuple[int, int] | None = field(default=None, metadata={"kind": _PAIR})


def _as_table(it: Record) -> dict[str, Any]:
    its = dataclasses.asdict(it.kernel)
    dtype = its.pop("dtype")
    summed = {} if dtype == DTYPES[0] else {"dtype": dtype}  # as files had it before integers
    how = {"way": it.choice.way, "tile": dataclasses.astuple(it.choice.tile)} if it.choice else {}
    where = {"platform": it.platform, "features": it.features}
    return {"kernel": name_of(it.kernel), **its, **summed, **where, **how, "gain": it.gain}


def _records(tables: object, found: list[Finding]) -> list[Record]:
    if not isinstance(tables, dict) or not isinstance(tables.get("records"), list):
        found.append(Finding((), "is not a tuning file: there is no array of records in it", _ANEW))
        return []
    if "schema-version" not in tables:
        found.append(Finding((), "schema-version is missing", _ANEW))
    else:
        Integer(SCHEMA_VERSION, SCHEMA_VERSION).read(tables["schema-version"], ("schema-version",), found)
    unknown = tables.keys() - {"records", "schema-version"}
    found += [Finding((), f"{key} is not a key of a tuning file") for key in sorted(unknown)]
    read = [_record(it, ("records", index), found) for index, it in enumerate(tables["records"])]
    seen = set()
    for index, it in enumerate(read):
        if it is not None and it.key in seen:
            found.append(Finding(("records", index), "what this record is about has one before", "remove one of them"))
        seen.add(it and it.key)
    return [it for it in read if it is not None]


def _record(table: object, place: Place, found: list[Finding]) -> Record | None:
    if not isinstance(table, dict):
        return refuse("a table", table, place, found) and None
    kind = toml_tables.Choice(tuple(_KERNELS)).read(table.get("kernel", ""), (*place, "kernel"), found)
    if kind is BAD:
        return None
    before, keys = len(found), toml_tables.keys_of(_KERNELS[kind])
    kernel = Table(_KERNELS[kind]).read({key: it for key, it in table.items() if key in keys}, place, found)
    rest = {key: it for key, it in table.items() if key not in keys and key != "kernel"}
    how: _How = Table(_How).read(rest, place, found)
    if len(found) > before:
        return None
    choice = Choice(how.way, Tile(*how.tile)) if how.way and how.tile else None
    found += [Finding((*place, key), message) for key, message in _impossible(kernel, how, choice)]
    return Record(kernel, how.platform, how.features, choice, how.gain)


def _impossible(kernel: Kernel, how: _How, choice: Choice | None) -> Iterable[tuple[str, str]]:
    """What is wrong with a record whose values are each right."""
    optional = PLATFORMS[how.platform].optional_features
    if how.features != tuple(it for it in optional if it in how.features):
        yield "features", f"records.features: {how.platform} has {', '.join(optional) or 'none'}"
    if isinstance(kernel, Convolution) and (min(kernel.out) < 1 or kernel.picture[3] % kernel.groups):
        yield "picture", "records.picture: there is no convolution of such extents"
    elif choice is None:
        if how.way or how.tile:
            yield "way", "records.way and records.tile go together: one of them is missing"
    elif choice.way not in kernel.ways:
        yield "way", f'records.way: "{choice.way}" is none of this kernel: {", ".join(kernel.ways)}'
    elif choice.tile not in kernel.tiles(choice.way):
        yield "tile", f"records.tile: {choice.tile.rows} × {choice.tile.columns} is no tile that this kernel can have"


def _refused(_constant: str) -> None:
    raise ValueError


def _lines(text: str) -> list[int]:
    """The line of each record: of the tables within the file's own, in the order of the text."""
    lines, depth = [], 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[{}]', text):
        if token[0] == "{":
            depth += 1
            if depth == _DEPTH_OF_RECORDS:
                lines.append(text.count("\n", 0, token.start()) + 1)
        elif token[0] == "}":
            depth -= 1
    return lines


_DEPTH_OF_RECORDS = 2


def _line(lines: list[int], place: Place) -> int:
    """The line of a place; 1 for what is in no record."""
    index = place[1] if len(place) > 1 else None
    return lines[index] if isinstance(index, int) and index < len(lines) else 1
