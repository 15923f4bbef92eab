"""How long a rank works on a step by itself: what tells a slow rank from those that only wait for it.

Of each step two parts are taken, in which no rank waits for another: from the end of the step before to the entry of
the model's forward pass (data loading, and what else the host does), and the forward pass itself, behind
DistributedDataParallel's exchange of buffers; that of a sharded model gathers all ranks' shards, and isn't taken. The
backward pass is left out: its all-reduce ends for all ranks at the same time. On an accelerator these are the host's
times: a slow device shows only as far as the host waits for it.
"""

import time
from collections import deque
from collections.abc import Callable

WINDOW = 16
"""Steps that are averaged. The longest is left out: an evaluation between two steps is no slowness."""


class WorkMeter:
    """Measures one rank. Each call takes a fraction of a microsecond, and none waits for a device."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds = 0.0
        """Own work of a recent step; 0 where it isn't known."""
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._sum = 0.0
        self._began: float | None = None
        self._step: int | None = None

    def step_ended(self, step: int) -> None:
        """So many steps are finished, and the next one begins."""
        if self._step is not None and step > self._step and self._sum:
            self._recent.append(self._sum / (step - self._step))
            self.seconds = _mean_without_longest(self._recent)
        self._step = step
        self._sum = 0.0
        self._began = self._clock()

    def interrupt(self) -> None:
        """What is done until `go_on` or the next step is no part of a step."""
        self._began = None

    def go_on(self) -> None:
        """The work on a step goes on."""
        self._began = self._clock()

    def enter_forward(self) -> None:
        """The step's first forward pass begins, or another one: what comes between two is not taken."""
        if self._began is not None:
            self._sum += self._clock() - self._began
            self._began = None

    def forward(self, run: Callable[[], object]) -> object:
        """Runs a forward pass that waits for no other rank, and returns its outputs."""
        began = self._clock()
        outputs = run()
        self._sum += self._clock() - began
        return outputs


def _mean_without_longest(values: deque[float]) -> float:
    if len(values) == 1:
        return values[0]
    return (sum(values) - max(values)) / (len(values) - 1)
