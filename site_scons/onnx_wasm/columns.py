"""Tables for people: columns side by side, numbers at the right."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NUMBER = re.compile(r"[\d,.]+%?")


def table(rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """Lines up rows of as many cells each.

    Args:
        rows: The cells' text; what is not to be printed in it is escaped.
        numbers: Columns that stand at the right as a whole, head and units included. In others only numbers do.
    """
    cells = [[_printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]

    def fitted(column: int, cell: str) -> str:
        right = column in numbers or _NUMBER.fullmatch(cell)
        return cell.rjust(widths[column]) if right else cell.ljust(widths[column])

    return "".join("  ".join(fitted(*it) for it in enumerate(row)).rstrip() + "\n" for row in cells)


def _printable(text: str) -> str:
    return "".join(it if it.isprintable() else it.encode("unicode_escape").decode() for it in text)
