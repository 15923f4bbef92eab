"""What a user hears of checkpoints that fail, or take suspiciously long: when it begins, each time it has lasted twice
as long, and when it is over. Pure: the clocks are arguments.

A note says what is wrong and since when, what is at risk, and the way out. It isn't repeated with every try: an hour
without storage is some five notes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

SLOW_SECONDS = 60.0
"""A save may always take so long."""
SLOW_FACTOR = 5.0
"""Longer than that, it is slow if it takes so many times what the last one took."""


@dataclass(slots=True)
class Trouble:
    """What is known of the saves of one attempt."""

    newest: int | None = None
    """Step of the newest complete checkpoint of the run."""
    since: datetime | None = None
    """When the first of the saves that failed, or are slow, was begun; None while all is well."""
    _tell_again: datetime | None = None
    _failing: bool = False

    def failed(self, error: Exception, *, step: int, now_at: int, began: datetime, now: datetime) -> str | None:
        """A save failed while training had come to step `now_at`."""
        if not self._failing:  # what it fails from is news, however recently it was called slow
            self._failing, self._tell_again = True, None
        if not self._is_news(began, now):
            return None
        return (
            f"step {step} could not be saved: {_line(error)}. No checkpoint was written since {_clock(self.since)}; "
            f"training goes on, and it is tried again. {self._at_risk(now_at)}"
        )

    def slow(self, *, step: int, now_at: int, usual: float, began: datetime, now: datetime) -> str | None:
        """A save is still being written."""
        if (now - began).total_seconds() < max(SLOW_SECONDS, SLOW_FACTOR * usual) or not self._is_news(began, now):
            return None
        last = f"the last one took {usual:.0f} s" if usual else "none is complete yet"
        return (
            f"the checkpoint of step {step} has been on its way since {_clock(began)}, {last}: storage is slow, or "
            f"doesn't answer. Training goes on. {self._at_risk(now_at)}"
        )

    def saved(self, step: int, *, now: datetime) -> str | None:
        """A checkpoint is complete."""
        since, self.newest = self.since, step
        self.since, self._tell_again, self._failing = None, None, False
        if since is None:
            return None
        return f"storage is back: step {step} is saved, for the first time since {_clock(since)} ({_span(now - since)})"

    def unsaved_end(self, step: int) -> str:
        """The job stops at a step that could not be saved within the grace."""
        return f"stopped at step {step}, which could not be saved in time. {self._at_risk(step, 'are')}"

    def _is_news(self, began: datetime, now: datetime) -> bool:
        if self.since is None:
            self.since = began
        if self._tell_again is not None and now < self._tell_again:
            return False
        self._tell_again = now + (now - self.since)
        return True

    def _at_risk(self, step: int, lost: str = "would be") -> str:
        if self.newest is None:
            return f"There is no complete checkpoint yet: all {step} steps {lost} lost"
        return f"Step {self.newest} is the newest checkpoint: {step - self.newest} steps {lost} lost"


def _line(error: Exception) -> str:
    """An error in at most 500 characters, whatever it is of."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 500 else f"{text[:499]}…"


def _clock(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC"


def _span(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
