"""The ranks of a gang as a grid, the slow and the dead marked and named; pure.

A gang that is larger than the grid shares its squares: each shows the worst of its ranks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.text import Text

_SIGNS = {
    "dead": ("✗", "bold red"),
    "slow": ("▲", "bold yellow"),
    "waiting": ("·", "dim"),
    "starting": ("◌", "blue"),
    "running": ("■", "green"),
    "done": ("✓", "bold green"),
}
"""By state, the worst first."""
_WORST = list(_SIGNS)
_GROUP = 8
_LINES = 6
_NAMED = 6


@dataclass(frozen=True, slots=True)
class Square:
    """One rank: its number, its state of `_SIGNS`, and a word on it."""

    rank: int
    state: str
    note: str = ""


def rank_grid(squares: Sequence[Square], *, width: int) -> Iterator[Text]:
    """The grid, a line that counts, and one for each of the first ranks that are slow or dead."""
    if not squares:
        return
    groups_a_line = max(1, (width + 1) // (_GROUP + 1))
    room = groups_a_line * _GROUP * _LINES
    share = -(-len(squares) // room)
    worst = [_worst(squares[begin : begin + share]) for begin in range(0, len(squares), share)]
    line = groups_a_line * _GROUP
    for begin in range(0, len(worst), line):
        yield _line(worst[begin : begin + line])
    counts = Counter(square.state for square in squares)
    parts = [f"{_SIGNS[state][0]} {counts[state]:,} {state}" for state in reversed(_WORST) if counts[state]]
    yield Text("   ".join(parts) + (f"   (a sign stands for {share} ranks)" if share > 1 else ""), "dim")
    bad = [square for square in squares if square.state in ("dead", "slow")]
    for square in bad[:_NAMED]:
        sign, style = _SIGNS[square.state]
        yield Text(f"{sign} rank {square.rank} {square.state}{f': {square.note}' if square.note else ''}", style)
    if len(bad) > _NAMED:
        yield Text(f"and {len(bad) - _NAMED:,} more", "dim")


def _worst(squares: Sequence[Square]) -> str:
    return min((square.state for square in squares), key=_WORST.index)


def _line(states: Sequence[str]) -> Text:
    text = Text()
    for index, state in enumerate(states):
        text.append(" " if index and index % _GROUP == 0 else "")
        text.append(*_SIGNS[state])
    return text
