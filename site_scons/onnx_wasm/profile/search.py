"""The search for how a kernel is computed quickest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnx_wasm.tuning import Choice, Convolution, Kernel, Tile

Race = Callable[[Sequence[Choice | None]], Sequence[float]]
"""What each of some choices takes; None stands for what the compiler does by itself."""

MARGIN = 1.03
"""How many times as quick another choice must be: less than that may be chance."""

_RUNS_OFF = 3
"""How often that is held to: where memory and code come to lie differs from run to run, and may count for more."""

_FIRST = (Tile(2, 16), Tile(2, 12), Tile(4, 8))
"""The tiles that ways are compared with."""

_FEWEST_RESULTS = 16
_IDLE = 1.25
"""How many more columns than there must be a tile may compute."""


def search(kernel: Kernel, race: Race) -> tuple[Choice | None, float]:
    """Looks for the quickest choice: first for the way, then for its tile, then several times against none at all.

    Args:
        kernel: The kernel.
        race: Measures.

    Returns:
        The choice, and how many times as quick it is as None; None and 1 if that is quickest.
    """
    way = kernel.ways[0]
    if len(kernel.ways) > 1:
        way = _best([Choice(way, it) for way in kernel.ways for it in _likely(kernel, way, _FIRST)], race).way
    best = _best([Choice(way, it) for it in _likely(kernel, way, kernel.tiles(way))], race)
    gain = min(_gain(best, race) for _ in range(_RUNS_OFF))
    return (best, gain) if gain >= MARGIN else (None, 1.0)


def _gain(choice: Choice, race: Race) -> float:
    without, its = race([None, choice])
    return without / its


def _best(choices: Sequence[Choice], race: Race) -> Choice:
    taken = race(choices)
    return choices[min(range(len(choices)), key=taken.__getitem__)]


def _likely(kernel: Kernel, way: str, among: Sequence[Tile]) -> list[Tile]:
    """Of some tiles those that a kernel can have and that do little in vain; if that is none, all it can have."""
    possible = kernel.tiles(way)
    highest = max(it.rows for it in possible)
    columns = kernel.weights[0] // kernel.groups if isinstance(kernel, Convolution) else kernel.columns
    computed = {it: -(-columns // it.columns) * it.columns for it in possible}
    likely = [
        it
        for it in possible
        if it in among
        and computed[it] <= min(computed.values()) * _IDLE
        and (it.rows * it.columns >= _FEWEST_RESULTS or it.rows == highest)
    ]
    return likely or possible
