"""Curves of characters."""

import math

import pytest

from footplate.cli.chart import plot, sparkline


@pytest.mark.parametrize(
    ("values", "line"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([None, math.nan, math.inf], "", id="nothing-known"),
        pytest.param([1.0], "▁", id="one"),
        pytest.param([0.0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█", id="rises"),
        pytest.param([None, 7.0, None, 0.0], " ██▁", id="a-gap"),
        pytest.param([3.0, 3.0], "▁▁", id="flat"),
        pytest.param([0.0, 0.0, 8.0, 8.0], "▁▁██", id="two-levels"),
        pytest.param([-1.7e308, 1.7e308], "▁█", id="more-than-a-float-spans"),
    ],
)
def test_sparkline(values: list[float | None], line: str) -> None:
    assert sparkline(values, width=10) == line


def test_a_long_curve_shows_means() -> None:
    assert sparkline([0.0, 2.0, 7.0, 9.0, None, 8.0], width=3) == "▁██"


def test_plot() -> None:
    assert plot([0, 1_000, 2_000, 3_000], [0.0, 1.0, 2.0, 3.0], width=14, height=3) == [
        "3 ┤⠀⠀⠀⠀⠀⠀⠀⣀⡠⠔⠊",
        "  ┤⠀⠀⠀⢀⡠⠔⠊⠀⠀⠀⠀",
        "0 ┤⣀⠤⠒⠁⠀⠀⠀⠀⠀⠀⠀",
        "   0     3,000",
    ]


@pytest.mark.parametrize("steps", [1, -1], ids=["forward", "back"])
@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [None, 5.0, None], [-1.7e308, 1.7e308], [math.nan, 2.0, 3.0]])
def test_every_plot_has_its_size(values: list[float | None], steps: int) -> None:
    lines = plot([steps * step for step in range(len(values))], values, width=40, height=5)
    assert len(lines) == 6
    assert max(map(len, lines)) <= 40


def test_nothing_known_is_no_plot() -> None:
    assert plot([1, 2], [None, math.nan], width=40, height=5) == []
