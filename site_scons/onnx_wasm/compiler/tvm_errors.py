"""TVM's failures, as the user is told of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from onnx_wasm.errors import BuildError, Problem

_LONGEST = 300
_NOTATION = (
    (re.compile(r":? *ir\.Op\(.*"), ""),
    (re.compile(r"R\.shape\((\[[^]]*\])\)"), r"\1"),
    (re.compile(r"T\.\w+\((-?\d+)\)"), r"\1"),
)
"""How TVM writes what is in its own graphs, and what is left of that."""


def reason(error: Exception) -> str:
    """What a failure of TVM's says is wrong, in plain words: one line, as the others are places in its own source."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    text = lines[-1] if lines else type(error).__name__
    for notation, plain in _NOTATION:
        text = notation.sub(plain, text)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


@contextmanager
def told(label: str, step: str) -> Iterator[None]:
    """Turns what TVM raises inside into a problem of the model's.

    Args:
        label: What messages call the model.
        step: What is being done, as the rest of "TVM cannot".
    """
    try:
        yield
    except (BuildError, OSError, MemoryError):
        raise
    except Exception as error:
        hint = "replace the operator, or report this with the model"
        raise BuildError(Problem(label, f"TVM cannot {step}: {reason(error)}", hint)) from error
