"""Which operators work on each element alone: they can follow a kernel in whatever layout it writes."""

from __future__ import annotations

UNARY = frozenset(
    f"relax.{name}"
    for name in (
        *("abs", "astype", "ceil", "clip", "erf", "exp", "floor", "log", "negative", "round", "rsqrt", "sigmoid"),
        *("sqrt", "square", "tanh", "nn.gelu", "nn.leakyrelu", "nn.relu", "nn.silu"),
    )
)
BINARY = frozenset(f"relax.{name}" for name in ("add", "divide", "maximum", "minimum", "multiply", "power", "subtract"))
