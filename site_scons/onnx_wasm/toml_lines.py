"""Where things stand in a TOML text: the line of every key, table and array element.

The standard library's ``tomllib`` gives values without positions. This scanner gives positions without values, for
text that ``tomllib`` has accepted: it needs to know where keys and values end, not what they mean. It runs only when
there is a problem to tell.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left

Place = tuple[str | int, ...]
"""The way to a value: keys and indices, as in ``("input", 0, "shape", 2)``."""

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+ | "(?:[^"\\]|\\.)*" | '[^']*' """, re.VERBOSE)
_SCALAR = re.compile(
    r'''
    """ (?:[^\\]|\\.)*? "{3,5}  |  \'\'\' .*? '{3,5}    # multi-line strings, which may end in two quotes of their own
  | "(?:[^"\\]|\\.)*"           |  '[^']*'
  | [^\s,\]}#]+ (?:[ ]\d\d:[^\s,\]}#]+)?                # the rest; a date may have its time after a space
    ''',
    re.VERBOSE | re.DOTALL,
)


def lines_of(text: str) -> dict[Place, int]:
    """Find the line of every key, table and array element.

    Args:
        text: A valid TOML document.

    Returns:
        The line of each place, counted from 1. A table without a header of its own has the line that first names it.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


def nearest(lines: dict[Place, int], place: Place) -> int:
    """Find the line that a user looks at for a place.

    Args:
        lines: As ``lines_of`` gives them.
        place: The place; if it is not written in the text, the nearest table around it that is counts.

    Returns:
        The line, counted from 1; 1 for the document itself.
    """
    while place not in lines:
        place = place[:-1]
    return lines[place]


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.ends = [end.start() for end in re.finditer("\n", text)]
        self.lines: dict[Place, int] = {(): 1}
        self.elements: dict[Place, int] = {}  # arrays of tables: the index of the last element so far

    def document(self) -> None:
        table: Place = ()
        self.blank()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.blank()

    def header(self) -> Place:
        line = self.line()
        brackets = 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        *parents, name = self.key()
        self.at += brackets
        table: Place = ()
        for part in parents:
            table = (*table, part)
            self.lines.setdefault(table, line)
            if table in self.elements:
                table = (*table, self.elements[table])
        table = (*table, name)
        if brackets == 2:
            self.lines.setdefault(table, line)
            self.elements[table] = self.elements.get(table, -1) + 1
            table = (*table, self.elements[table])
        self.lines[table] = line
        return table

    def pair(self, table: Place) -> None:
        line = self.line()
        for part in self.key():
            table = (*table, part)
            self.lines.setdefault(table, line)
        self.at += 1  # =
        self.value(table)

    def key(self) -> list[str]:
        parts = []
        while True:
            self.blank()
            part = self.take(_KEY_PART)
            parts.append(tomllib.loads(f"key = {part}")["key"] if part[0] in "\"'" else part)
            self.blank()
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def value(self, place: Place) -> None:
        self.blank()
        opening = self.text[self.at]
        if opening not in "[{":
            self.take(_SCALAR)
            return
        self.at += 1
        index = 0
        self.blank()
        while self.text[self.at] not in "]}":
            if opening == "{":
                self.pair(place)
            else:
                self.lines[(*place, index)] = self.line()
                self.value((*place, index))
                index += 1
            self.blank()
            if self.text[self.at] == ",":
                self.at += 1
                self.blank()
        self.at += 1

    def blank(self) -> None:
        self.take(_BLANK)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match, f"not the TOML that tomllib accepted, at character {self.at}"
        self.at = match.end()
        return match.group()

    def line(self) -> int:
        return bisect_left(self.ends, self.at) + 1
