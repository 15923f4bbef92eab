"""The ranks of a gang as signs."""

from types import SimpleNamespace
from typing import Any

from footplate.cli.rank_grid import rank_grid
from job_views import rank_view


def lines(ranks: list[SimpleNamespace], *, width: int = 26) -> list[str]:
    seen: Any = ranks
    return [line.plain for line in rank_grid(seen, width=width)]


def test_no_ranks_no_grid() -> None:
    assert lines([]) == []


def test_slow_and_dead_ranks_are_marked_counted_and_named() -> None:
    ranks = [rank_view(rank) for rank in range(26)]
    ranks[9] = rank_view(9, slow=2.13)
    ranks[25] = rank_view(25, "failed", reason="exit code 1")
    assert lines(ranks) == [
        "■■■■■■■■ ■▲■■■■■■ ■■■■■■■■",
        "■✗",
        "■ 24 running   ▲ 1 slow   ✗ 1 failed",
        "▲ rank 9 on node-9: its work on a step takes 2.1 times the median's",
        "✗ rank 25 on node-25: exit code 1",
    ]


def test_a_gang_of_ten_thousand_shares_its_signs_and_hides_no_dead_rank() -> None:
    ranks = [rank_view(rank) for rank in range(10_000)]
    ranks[5_000] = rank_view(5_000, "failed")
    shown = lines(ranks, width=100)
    assert len(shown) <= 8
    assert sum(line.count("✗") for line in shown[:-2]) == 1
    assert "(a sign stands for 19 ranks)" in shown[-2]


def test_of_many_that_are_dead_the_first_are_named() -> None:
    shown = lines([rank_view(rank, "failed") for rank in range(100)])
    assert shown[-2:] == ["✗ rank 5 on node-5: failed", "and 94 more"]
