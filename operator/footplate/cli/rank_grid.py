"""The ranks of a gang as a grid, the slow and the dead marked and named; pure.

A gang that is larger than the grid shares its signs: each shows the worst of its ranks.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from footplate.client import RankView

_SIGNS = {
    "failed": ("✗", "bold red"),
    "slow": ("▲", "bold yellow"),
    "absent": ("·", "dim"),
    "pending": ("○", "cyan"),
    "stopping": ("◇", "magenta"),
    "starting": ("◌", "blue"),
    "running": ("■", "green"),
    "succeeded": ("✓", "bold green"),
}
"""By state, the worst first."""
_WORST = list(_SIGNS)
_GROUP = 8
_LINES = 6
_NAMED = 6


def rank_grid(ranks: "Sequence[RankView]", *, width: int) -> Iterator[Text]:
    """The grid, a line that counts, and one for each of the first ranks that are slow or dead."""
    if not ranks:
        return
    states = [_state(rank) for rank in ranks]
    groups_a_line = max(1, (width + 1) // (_GROUP + 1))
    share = -(-len(states) // (groups_a_line * _GROUP * _LINES))
    worst = [min(states[begin : begin + share], key=_WORST.index) for begin in range(0, len(states), share)]
    line = groups_a_line * _GROUP
    for begin in range(0, len(worst), line):
        yield _line(worst[begin : begin + line])
    counts = Counter(states)
    parts = [f"{_SIGNS[state][0]} {counts[state]:,} {state}" for state in reversed(_WORST) if counts[state]]
    yield Text("   ".join(parts) + (f"   (a sign stands for {share} ranks)" if share > 1 else ""), "dim")
    bad = [rank for rank, state in zip(ranks, states, strict=True) if state in ("failed", "slow")]
    for rank in bad[:_NAMED]:
        sign, style = _SIGNS[_state(rank)]
        where = f" on {rank.node}" if rank.node else ""
        why = rank.reason or (f"its work on a step takes {rank.slow:.1f} times the median's" if rank.slow else "")
        yield Text(f"{sign} rank {rank.node_rank}{where}: {why or _state(rank)}", style)
    if len(bad) > _NAMED:
        yield Text(f"and {len(bad) - _NAMED:,} more", "dim")


def _state(rank: "RankView") -> str:
    return "slow" if rank.slow is not None else rank.state


def _line(states: Sequence[str]) -> Text:
    text = Text()
    for index, state in enumerate(states):
        text.append(" " if index and index % _GROUP == 0 else "")
        text.append(*_SIGNS[state])
    return text
