"""When a checkpoint is due, and how often the ranks ask each other whether to stop."""

from footplate.api.blocks import Every

ASK_SECONDS = 1.0
RETRY_SECONDS = 30.0
"""After a save that failed; twice as long after each further one."""
MAX_RETRY_SECONDS = 480.0


class Schedule:
    """When a checkpoint is due.

    What depends on the step is the same on every rank without asking; what depends on the clock must be agreed on.
    """

    def __init__(self, every: Every, *, step: int, now: float) -> None:
        self._every = every
        self._last_step = step
        self._next_time = now + every.seconds if every.seconds else float("inf")
        self._failures = 0

    def falls_due(self, step: int, *, epoch_ended: bool) -> bool:
        """True, once, at every multiple of `every.steps` and at the end of an epoch."""
        steps = self._every.steps
        due = epoch_ended or (steps is not None and step // steps > self._last_step // steps)
        if due:
            self._last_step = step
        return due

    def due_now(self, now: float) -> bool:
        """True when `every.seconds` are over, or a failed save is to be tried again."""
        return now >= self._next_time

    def started(self, step: int, *, now: float) -> None:
        """A save of this step has begun."""
        self._last_step = step
        self._next_time = now + self._every.seconds if self._every.seconds else float("inf")

    def failed(self, *, now: float) -> None:
        """The last save failed. Each try holds training up, so the next ones come ever later."""
        pause = min(RETRY_SECONDS * 2**self._failures, MAX_RETRY_SECONDS)
        self._failures += 1
        self._next_time = min(self._next_time, now + pause)

    def succeeded(self) -> None:
        """The last save is complete."""
        self._failures = 0


class Pulse:
    """Counts calls, so that ranks that make the same calls ask each other at the same ones, about once a second.

    The distance to the next question is part of the question: the shortest that any rank proposes counts. It at most
    doubles, so that steps which suddenly take longer don't silence the gang.
    """

    def __init__(self, *, now: float) -> None:
        self._interval = self._left = 1
        self._asked = now

    def count(self) -> bool:
        """Counts a call. True when it is time to ask."""
        self._left -= 1
        return self._left <= 0

    def proposal(self, now: float) -> int:
        """This rank's proposal for the number of calls until the next question."""
        calls = self._interval - max(self._left, 0)
        per_call = max(now - self._asked, 1e-6) / max(calls, 1)
        return max(1, min(2 * self._interval, int(ASK_SECONDS / per_call)))

    def asked(self, interval: int, *, now: float) -> None:
        """The ranks have agreed on the next distance."""
        self._interval = self._left = interval
        self._asked = now
