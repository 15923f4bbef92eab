"""What a user hears of saves that fail or take long: when it begins, ever more rarely while it lasts, and when over."""

from datetime import UTC, datetime, timedelta

import pytest

from footplate_trainer.checkpoint.trouble import Trouble
from footplate_trainer.errors import StorageUnavailable

START = datetime(2026, 1, 1, 11, 58, tzinfo=UTC)
GONE = StorageUnavailable("s3://checkpoints/x: storage is not available (SlowDown)")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_failure_says_what_since_when_and_what_is_at_risk() -> None:
    trouble = Trouble(newest=120)
    assert trouble.failed(GONE, step=140, now_at=147, began=START, now=at(180)) == (
        "step 140 could not be saved: s3://checkpoints/x: storage is not available (SlowDown). No checkpoint was "
        "written since 2026-01-01 11:58:00 UTC; training goes on, and it is tried again. Step 120 is the newest "
        "checkpoint: 27 steps would be lost"
    )


def test_without_any_checkpoint_all_is_at_risk() -> None:
    note = Trouble().failed(GONE, step=10, now_at=12, began=START, now=at(1))
    assert note is not None
    assert note.endswith("There is no complete checkpoint yet: all 12 steps would be lost")


def test_an_hour_of_tries_is_a_handful_of_notes() -> None:
    trouble = Trouble(newest=0)
    notes = [trouble.failed(GONE, step=1, now_at=1, began=at(s - 180), now=at(s)) for s in range(180, 3600, 210)]
    assert 3 <= sum(note is not None for note in notes) <= 6
    assert trouble.saved(9, now=at(3600)) == (
        "storage is back: step 9 is saved, for the first time since 2026-01-01 11:58:00 UTC (60 min)"
    )
    assert trouble.failed(GONE, step=1, now_at=1, began=at(4000), now=at(4001)) is not None


@pytest.mark.parametrize(
    ("usual", "seconds", "told"),
    [
        pytest.param(0.0, 59, False, id="any save may take a minute"),
        pytest.param(0.0, 61, True, id="the first one takes longer"),
        pytest.param(30.0, 149, False, id="large ones take their time"),
        pytest.param(30.0, 151, True, id="five times the last one"),
    ],
)
def test_slowness(usual: float, seconds: float, told: bool) -> None:
    trouble = Trouble(newest=1)
    note = trouble.slow(step=5, now_at=8, usual=usual, began=START, now=at(seconds))
    assert (note is not None) is told
    assert (trouble.saved(5, now=at(200)) is not None) is told


def test_a_slow_save_that_fails_is_news() -> None:
    trouble = Trouble(newest=1)
    assert trouble.slow(step=5, now_at=8, usual=0.0, began=START, now=at(100)) is not None
    assert trouble.failed(GONE, step=5, now_at=8, began=START, now=at(101)) is not None
    assert trouble.failed(GONE, step=9, now_at=9, began=at(102), now=at(103)) is None


def test_all_is_well() -> None:
    assert Trouble().saved(5, now=START) is None


def test_an_error_is_cut_and_never_empty() -> None:
    for error, said in ((OSError(), "saved: OSError."), (OSError("x\n" * 1000), f"{'x ' * 249}x…")):
        note = Trouble().failed(error, step=1, now_at=1, began=START, now=START)
        assert note is not None
        assert said in note
        assert len(note) < 1024
