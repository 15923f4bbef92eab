"""How durations are written, everywhere."""

import pytest

from footplate.durations import in_words, short


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"), (0, "0s"), (0.9, "0s"), (59, "59s"), (60, "1m"), (90, "1m30s"), (599, "9m59s"), (725, "12m"),
        (3_421, "57m"), (3_600, "1h"), (4_320, "1h12m"), (12_059, "3h20m"), (36_000, "10h"), (40_000, "11h"),
        (86_400, "1d"), (86_460, "1d"), (180_000, "2d2h"), (40 * 86_400, "40d"), (10**8, "1157d"),
    ],
)  # fmt: skip
def test_short(seconds: float, text: str) -> None:
    assert short(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (754, "12 min 34 s"), (3_725, "1 h 2 min"),
        (86_460, "1 d"), (90_061, "1 d 1 h"), (86_400 * 4_000, "4,000 d"),
    ],
)  # fmt: skip
def test_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
