"""How fast training goes, and how much of its time went into the steps that it stands on."""

from collections import deque
from dataclasses import dataclass

WINDOW_SECONDS = 120.0
"""What counts as recent. An evaluation or a save in it counts with the steps around it, as the next ones will."""


@dataclass(frozen=True, slots=True)
class _Mark:
    time: float
    step: int
    samples: int | None
    waited: float


class Speed:
    """Speed of training over its recent steps, from the times of reports. What a step waits for counts: data, other
    ranks, evaluations and saves between steps. Nothing is known before the second report.
    """

    def __init__(self) -> None:
        self._marks: deque[_Mark] = deque()

    def update(self, now: float, *, step: int, samples: int | None, waited: float = 0.0) -> None:
        """Takes in that at `now` so many steps were finished and so many samples handed out, and that `waited` seconds
        in all were spent waiting for data.
        """
        marks = self._marks
        if marks and step < marks[-1].step:  # training has gone back to an earlier state
            marks.clear()
        if marks and (step == marks[-1].step or now <= marks[-1].time):
            return
        marks.append(_Mark(now, step, samples, waited))
        while len(marks) > 2 and marks[1].time <= now - WINDOW_SECONDS:
            marks.popleft()

    @property
    def step_seconds(self) -> float | None:
        """Duration of a recent step."""
        return self._seconds / (self._marks[-1].step - self._marks[0].step) if self._seconds else None

    @property
    def sample_seconds(self) -> float | None:
        """Duration of a recent sample, of all ranks together; None where samples aren't counted."""
        if not self._seconds:
            return None
        first, last = self._marks[0].samples, self._marks[-1].samples
        return self._seconds / (last - first) if first is not None and last is not None and last > first else None

    @property
    def data_wait_ratio(self) -> float | None:
        """Share of the recent time that was spent waiting for data."""
        return (self._marks[-1].waited - self._marks[0].waited) / self._seconds if self._seconds else None

    @property
    def _seconds(self) -> float:
        return self._marks[-1].time - self._marks[0].time if self._marks else 0.0


class ProductiveTime:
    """Node seconds of the steps that training stands on, over all attempts of a run.

    What counts is the time from one report to the next that has finished more steps: computing, waiting for data and
    for other ranks, and the short stall of a save in the background. Not counted are the first step of each process,
    which compiles and fills caches, and whatever began with another activity: evaluating, exporting, a save that is
    waited for. Each checkpoint holds the value of its step, so that a failure takes back exactly what it cost.
    """

    def __init__(self, nodes: int) -> None:
        self.node_seconds: float | None = None
        """None before the first report."""
        self._nodes = nodes
        self._since: float | None = None
        self._warm = False

    def start_from(self, node_seconds: float) -> None:
        """Goes on from what a checkpoint holds."""
        self.node_seconds = node_seconds

    def reported(self, now: float, *, advanced: bool) -> float:
        """Training has reported at `now`; with more steps than before where it has `advanced`. Returns the seconds that
        count for these steps; 0 where none do.
        """
        seconds = now - self._since if advanced and self._since is not None else 0.0
        self.node_seconds = (self.node_seconds or 0.0) + self._nodes * seconds
        self._warm = self._warm or advanced
        if self._warm and (advanced or self._since is None):
            self._since = now
        return seconds

    def interrupt(self) -> None:
        """Something else than training begins."""
        self._since = None

    def go_on(self, now: float) -> None:
        """Training goes on at `now`."""
        if self._warm:
            self._since = now
