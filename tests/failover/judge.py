"""What the API server was asked to write, by whom, and while who held the lease: the operator's own word counts for
nothing here.

A write counts from the moment at which it reached the API server's door to that of its answer. All of it must lie
within a tenure of the process that asked: from its claim of the lease to the next one's claim, or to its own release.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from gateway import Write

LEASES = "/leases"
WORDS_ONLY = "/events"


@dataclass(frozen=True, slots=True)
class Sent:
    """A write, and the process that sent it."""

    process: str
    write: Write


@dataclass(frozen=True, slots=True)
class Hold:
    """The lease as one write left it: in nobody's hands where `process` is empty."""

    process: str
    at: float
    ended: float


@dataclass(frozen=True, slots=True)
class Tenure:
    """A process held the lease from its claim until `until`."""

    process: str
    since: float
    until: float


@dataclass
class Record:
    """All writes of all processes."""

    sent: list[Sent] = field(default_factory=list)

    def holds(self) -> list[Hold]:
        """What became of the lease, in the order in which the API server did it."""
        done = [each.write for each in self.sent if LEASES in each.write.path and each.write.code in (200, 201)]
        done.sort(key=lambda write: int(write.answer["metadata"]["resourceVersion"]))
        return [Hold(holder_of(write.answer), write.at, write.ended) for write in done]

    def tenures(self) -> list[Tenure]:
        """Who held the lease when."""
        turns = [
            hold for before, hold in pairwise([Hold("", 0.0, 0.0), *self.holds()]) if before.process != hold.process
        ]
        ends = [*(each.at for each in turns[1:]), float("inf")]
        return [Tenure(turn.process, turn.at, end) for turn, end in zip(turns, ends, strict=True) if turn.process]

    def actions(self) -> list[Sent]:
        """Writes of anything but the lease."""
        return [each for each in self.sent if LEASES not in each.write.path]

    def outside(self) -> list[str]:
        """Writes that their process had no right to: it didn't hold the lease."""
        tenures = self.tenures()
        return [
            f"{each.process} {each.write.method} {each.write.path}: {each.write.at:.2f} to {each.write.ended:.2f}, "
            f"code {each.write.code}; it held the lease {_spans(each.process, tenures)}"
            for each in self.actions()
            if not any(_lies_in(each, tenure) for tenure in tenures)
        ]

    def next_action(self, *, after: float, but: str) -> float | None:
        """When another process had first written something of use (no event) after a moment."""
        times = [
            each.write.ended
            for each in self.actions()
            if each.process != but and each.write.at > after and each.write.code in (200, 201)
            if WORDS_ONLY not in each.write.path
        ]
        return min(times, default=None)

    def holder(self) -> str:
        """Who holds the lease by now."""
        holds = self.holds()
        return holds[-1].process if holds else ""


def holder_of(lease: Mapping[str, object]) -> str:
    """The process that holds a lease; an identity is a process's name and something random."""
    spec = lease["spec"]
    assert isinstance(spec, Mapping)
    return str(spec.get("holderIdentity") or "").rpartition("_")[0]


def middle_and_worst(seconds: Sequence[float]) -> str:
    """For a line of figures."""
    return f"median {median(seconds):.1f} s, worst {max(seconds):.1f} s of {len(seconds)}" if seconds else "none"


def _lies_in(sent: Sent, tenure: Tenure) -> bool:
    return sent.process == tenure.process and tenure.since <= sent.write.at and sent.write.ended <= tenure.until


def _spans(process: str, tenures: Iterable[Tenure]) -> str:
    spans = [f"{each.since:.2f} to {each.until:.2f}" for each in tenures if each.process == process]
    return ", ".join(spans) or "never"
