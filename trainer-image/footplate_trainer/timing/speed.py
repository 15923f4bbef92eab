"""How fast training goes, and how much of its time went into the steps that it stands on."""

SMOOTHING = 0.3
"""Weight of the newest interval in the smoothed speed."""


class Speed:
    """Smoothed speed of training, from the times of reports. What a step waits for counts: data, other ranks."""

    def __init__(self) -> None:
        self.step_seconds: float | None = None
        self.sample_seconds: float | None = None
        self._last: tuple[float, int, int | None] | None = None

    def update(self, now: float, *, step: int, samples: int | None) -> None:
        """Takes in that at `now` so many steps were finished and so many samples handed out."""
        if self._last is not None:
            then, last_step, last_samples = self._last
            if step <= last_step or now <= then:
                return
            seconds = now - then
            self.step_seconds = _smooth(self.step_seconds, seconds / (step - last_step))
            if samples is not None and last_samples is not None and samples > last_samples:
                self.sample_seconds = _smooth(self.sample_seconds, seconds / (samples - last_samples))
        self._last = (now, step, samples)


def _smooth(old: float | None, new: float) -> float:
    return new if old is None else old + SMOOTHING * (new - old)


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

    def reported(self, now: float, *, advanced: bool) -> None:
        """Training has reported at `now`; with more steps than before where it has `advanced`."""
        counted = self._nodes * (now - self._since) if advanced and self._since is not None else 0.0
        self.node_seconds = (self.node_seconds or 0.0) + counted
        self._warm = self._warm or advanced
        if self._warm and (advanced or self._since is None):
            self._since = now

    def interrupt(self) -> None:
        """Something else than training begins."""
        self._since = None

    def go_on(self, now: float) -> None:
        """Training goes on at `now`."""
        if self._warm:
            self._since = now
