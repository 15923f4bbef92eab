"""The exponent of a power law is found, above what an empty operator costs; and it is drawn."""

from pathlib import Path

import pytest

from bench.scale.growth import fit, plot

SIZES = (250.0, 500.0, 1000.0, 2000.0)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_the_exponent(exponent: float) -> None:
    points = [(size, 3.0 + 0.01 * size**exponent) for size in SIZES]
    growth = fit("cost", points, against="jobs", empty=3.0)
    assert growth is not None
    assert growth.exponent == pytest.approx(exponent)
    assert growth.factor == pytest.approx(0.01)


def test_nothing_grows_from_one_size() -> None:
    assert fit("cost", [(1.0, 2.0), (1.0, 3.0)], against="jobs") is None


def test_a_plot(tmp_path: Path) -> None:
    growth = fit("cost", [(size, size) for size in SIZES], against="jobs")
    assert growth is not None
    plot([growth] * 4, tmp_path / "growth.png")
    assert (tmp_path / "growth.png").read_bytes().startswith(b"\x89PNG")
