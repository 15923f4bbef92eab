"""The ranks of a gang as signs."""

from footplate.cli.rank_grid import Square, rank_grid


def lines(squares: list[Square], *, width: int = 26) -> list[str]:
    return [line.plain for line in rank_grid(squares, width=width)]


def test_no_ranks_no_grid() -> None:
    assert lines([]) == []


def test_slow_and_dead_ranks_are_marked_counted_and_named() -> None:
    squares = [Square(rank, "running") for rank in range(26)]
    squares[9] = Square(9, "slow", "2.1 times the median's work a step, on node-1")
    squares[25] = Square(25, "dead", "exit code 1")
    assert lines(squares) == [
        "■■■■■■■■ ■▲■■■■■■ ■■■■■■■■",
        "■✗",
        "■ 24 running   ▲ 1 slow   ✗ 1 dead",
        "▲ rank 9 slow: 2.1 times the median's work a step, on node-1",
        "✗ rank 25 dead: exit code 1",
    ]


def test_a_gang_of_ten_thousand_shares_its_signs_and_hides_no_dead_rank() -> None:
    squares = [Square(rank, "running") for rank in range(10_000)]
    squares[5_000] = Square(5_000, "dead")
    shown = lines(squares, width=100)
    assert len(shown) <= 8
    assert sum(line.count("✗") for line in shown[:-2]) == 1
    assert "(a sign stands for 19 ranks)" in shown[-2]


def test_of_many_that_are_dead_the_first_are_named() -> None:
    shown = lines([Square(rank, "dead") for rank in range(100)])
    assert shown[-2:] == ["✗ rank 5 dead", "and 94 more"]
