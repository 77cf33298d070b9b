"""How far an output is from what it should be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Worst:
    """The element of an output that is furthest from the reference.

    Args:
        output: The output's name.
        index: Where the element is.
        found: The module's value.
        wanted: The reference's.
        share: The difference as a share of the output's largest element.
    """

    output: str
    index: tuple[int, ...]
    found: float
    wanted: float
    share: float

    def __str__(self) -> str:
        values = f"{self.found:.9g}, not {self.wanted:.9g}"
        return f"{self.output}{list(self.index)} is {values} ({self.share:.1e} of the largest)"


def worst(name: str, found: np.ndarray, wanted: np.ndarray) -> Worst:
    """Finds the worst element.

    Args:
        name: The output's.
        found: The module's.
        wanted: The reference's.

    Raises:
        ValueError: They differ in dtype or shape.
    """
    if found.dtype != wanted.dtype or found.shape != wanted.shape:
        raise ValueError(f"{name} is {found.dtype}{list(found.shape)}, not {wanted.dtype}{list(wanted.shape)}")
    if found.size == 0:
        return Worst(name, (), 0, 0, 0)
    given, exact = _comparable(found), _comparable(wanted)
    same = (given == exact) | (np.isnan(given) & np.isnan(exact))
    with np.errstate(invalid="ignore", over="ignore"):
        away = np.where(same, 0, np.abs(given - exact))
    away = np.where(np.isnan(away), np.inf, away)
    index = tuple(int(it) for it in np.unravel_index(int(away.argmax()), away.shape))
    largest = float(np.abs(exact[np.isfinite(exact)]).max(initial=0)) or 1.0
    return Worst(name, index[: found.ndim], float(given[index]), float(exact[index]), float(away[index]) / largest)


def _comparable(tensor: np.ndarray) -> np.ndarray:
    """At least one-dimensional, in a float that tells all values apart: those of int64 need 64 bits of mantissa."""
    return np.atleast_1d(tensor).astype(np.longdouble if tensor.dtype.kind in "iu" else np.float64)
