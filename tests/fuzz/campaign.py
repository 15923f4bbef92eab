"""Many cases of each subject, each with a seed of its own: what failed, what became of the others, and what it cost."""

import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass
class Outcome:
    """Of all cases of one subject."""

    name: str
    cases: int = 0
    became: Counter[str] = field(default_factory=Counter)
    failures: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """By where it failed: how often, the first seed, and the traceback of that."""
    seconds: float = 0.0
    longest: tuple[float, int] = (0.0, 0)
    """CPU seconds of the slowest case, and its seed."""
    peak_bytes: int = 0
    """By how much the process's largest memory grew."""

    def __str__(self) -> str:
        became = ", ".join(f"{count:,} {what}" for what, count in self.became.most_common())
        slow, seed = self.longest
        return (
            f"{self.name}: {self.cases:,} cases in {self.seconds:.1f} s of CPU "
            f"({1000 * self.seconds / self.cases:.2f} ms each, at most {1000 * slow:.0f} ms: seed {seed}), "
            f"memory +{self.peak_bytes / 2**20:.0f} MiB; {became}; "
            f"{sum(count for count, _, _ in self.failures.values())} failures"
        )


def attack(subject: Callable[[random.Random], str], seeds: Iterable[int]) -> Outcome:
    """Runs a subject on each seed."""
    outcome, before = Outcome(subject.__name__), _peak()
    for seed in seeds:
        began = time.process_time()
        try:
            outcome.became[subject(random.Random(f"{subject.__name__}/{seed}"))] += 1
        except Exception as error:
            frames = traceback.extract_tb(error.__traceback__)
            place = f"{type(error).__name__} in {frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}"
            count, first, said = outcome.failures.get(place, (0, seed, traceback.format_exc()))
            outcome.failures[place] = (count + 1, first, said)
        took = time.process_time() - began
        outcome.cases += 1
        outcome.seconds += took
        outcome.longest = max(outcome.longest, (took, seed))
    outcome.peak_bytes = _peak() - before
    return outcome


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
