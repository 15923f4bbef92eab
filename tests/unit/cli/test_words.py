"""How durations, ages and counts are written."""

from datetime import UTC, datetime, timedelta

import pytest

from footplate.cli.words import age, count, duration, number, read_duration, share

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def test_a_duration_that_nobody_knows() -> None:
    assert (duration(None), duration(12_059)) == ("-", "3h20m")


def test_age_of_what_is_to_come_is_none() -> None:
    assert age(NOW + timedelta(hours=1), now=NOW) == "0s"
    assert age(NOW - timedelta(hours=1), now=NOW) == "1h"
    assert age(None, now=NOW) == "-"


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("1d", 86_400)])
def test_read_duration(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "soon", "-1s", "nan", "inf"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        read_duration(text)


def test_numbers() -> None:
    assert share(1_200, 9_380) == "1,200/9,380"
    assert share(1_200, None) == "1,200"
    assert share(None, 5) == "-"
    assert number(0.123456) == "0.1235"
    assert number(None) == "-"
    assert count(1, "node") == "1 node"
    assert count(2_000, "node") == "2,000 nodes"
