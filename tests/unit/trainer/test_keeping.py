"""A trained model that storage doesn't take: how long it is kept, and what its user hears."""

from collections.abc import Callable

import pytest

from footplate.contract import ExitCode
from footplate_trainer.errors import ConfigError, Denied, NotFound, StorageUnavailable, TrainerError
from footplate_trainer.supervisor import keeping
from footplate_trainer.supervisor.keeping import keep_trying


class Clock:
    """Goes on by what is waited."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def pause(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


def fails(*errors: TrainerError) -> Callable[[], str]:
    """Fails so, one after another, and then succeeds."""
    left = list(errors)

    def publish() -> str:
        if left:
            raise left.pop(0)
        return "stored"

    return publish


def keep(publish: Callable[[], str], *, has_checkpoint: bool = False) -> tuple[str, list[str], Clock]:
    clock, notes = Clock(), list[str]()
    done = keep_trying(publish, has_checkpoint=has_checkpoint, note=notes.append, clock=lambda: clock.now,
                       pause=clock.pause)  # fmt: skip
    return done, notes, clock


def test_what_is_taken_at_once_is_told_nothing() -> None:
    assert keep(fails())[:2] == ("stored", [])


def test_each_kind_of_trouble_is_told_once() -> None:
    errors = [Denied("run out")] * 3 + [StorageUnavailable("away")] * 2 + [NotFound("no bucket")]
    done, notes, clock = keep(fails(*errors))
    assert done == "stored"
    assert [note.partition(": ")[2].partition(".")[0] for note in notes] == ["run out", "away", "no bucket"]
    assert "It stays on the node, and is tried again every minute, until the job is suspended or deleted" in notes[0]
    assert clock.waits == [5, 10, 20, 40, 60, 60]


def test_without_a_checkpoint_it_is_kept_for_days() -> None:
    _, _, clock = keep(fails(*[Denied("run out")] * 5000))
    assert clock.now > 3 * 86_400


def test_with_a_checkpoint_another_attempt_comes_back() -> None:
    """Which is the infrastructure's restart, not the end: the accelerators are free meanwhile."""
    with pytest.raises(StorageUnavailable, match=r"^run out\. .* for an hour; another attempt comes back") as raised:
        keep(fails(*[Denied("run out")] * 5000), has_checkpoint=True)
    assert raised.value.exit_code == ExitCode.PEER_LOST
    done, notes, clock = keep(fails(*[Denied("run out")] * 60), has_checkpoint=True)
    assert done == "stored"
    assert "after an hour another attempt comes back to it from the last checkpoint" in notes[0]
    assert clock.now - 100 < keeping.PATIENCE_SECONDS


def test_what_isnt_storages_is_raised() -> None:
    with pytest.raises(ConfigError, match="no file"):
        keep(fails(ConfigError("no file")))
