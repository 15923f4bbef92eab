"""What a worker remembers of a job between two looks: nothing that a restart of the operator may not lose.

It belongs to one object, not to its name: a job that is deleted and created again begins with none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from footplate.machinery.backoff import doubled, pause_after
from footplate.machinery.clock import Clock
from footplate.objects import Object, uid_of
from footplate.policy.plan import Plan, Refusal

RETRY_REFUSED_SECONDS = 10.0
"""For so long a refused create isn't tried again, and is part of what is observed; twice as long each time that it is
refused again.
"""

_FIRST_PAUSE = 0.05
_LAST_PAUSE = 30.0
_LONGEST_PAUSE = 300.0
"""Between two tries of what is refused again and again."""


@dataclass(frozen=True, slots=True)
class _Failing:
    """The job's writes of one verb, as long as they fail, and which of its pods lived then: one that goes makes room in
    a quota.
    """

    refusals: Sequence[Refusal]
    since: datetime
    tries: int
    retry_at: float
    living: frozenset[str]


@dataclass(slots=True)
class Memory:
    """Of one job."""

    uid: str
    generation: object = None
    written: datetime | None = None
    """When its status was last written."""
    rounds: int = 0
    """Looks in a row that changed something."""
    _failing: dict[str, _Failing] = field(default_factory=dict)

    @classmethod
    def of(cls, job: Object) -> "Memory":
        """None yet."""
        return cls(uid_of(job))

    def failures(self, job: Object, *, living: Callable[[], frozenset[str]]) -> Sequence[Refusal]:
        """Which writes failed when they were last tried. Those of another spec don't count, nor those beside a pod
        that has gone since: the next try may fare better, and is made at once.

        Args:
            job: the job.
            living: says the UIDs of its pods that count against a quota.
        """
        generation = job["metadata"].get("generation")
        if generation != self.generation:
            self._failing.clear()
            self.generation = generation
        if self._failing:
            here = living()
            self._failing = {verb: each for verb, each in self._failing.items() if each.living <= here}
        return [refusal for failing in self._failing.values() for refusal in failing.refusals]

    def hold_back(self, plan: Plan, *, clock: Clock) -> Plan:
        """The plan without the writes for which it is too early, and with a look when it no longer is."""
        now = clock.monotonic()
        waits = {verb: each.retry_at - now for verb, each in self._failing.items() if each.retry_at > now}
        if not waits:
            return plan
        return replace(
            plan,
            create=() if "create" in waits else plan.create,
            delete=() if "delete" in waits else plan.delete,
            requeue_after=min(filter(None, (plan.requeue_after, *waits.values()))),
        )

    def note(
        self, plan: Plan, failed: Sequence[Refusal], *, living: Callable[[], frozenset[str]], clock: Clock
    ) -> None:
        """What became of the writes of a plan; `living` as for `failures`."""
        for verb, tried in (("create", len(plan.create)), ("delete", len(plan.delete))):
            if tried:
                self._note(verb, [refusal for refusal in failed if refusal.verb == verb], living, clock)

    def forgive(self, plan: Plan, *, clock: Clock) -> bool:
        """Forgets failures of writes that it is time to try again, and that nobody wants any more; True if any."""
        now = clock.monotonic()
        wanted = {"create": plan.create, "delete": plan.delete}
        over = [verb for verb, each in self._failing.items() if each.retry_at <= now and not wanted[verb]]
        for verb in over:
            del self._failing[verb]
        return bool(over)

    def _note(self, verb: str, failed: Sequence[Refusal], living: Callable[[], frozenset[str]], clock: Clock) -> None:
        before = self._failing.pop(verb, None)
        if not failed:
            return
        tries = before.tries + 1 if before is not None else 1
        since = before.since if before is not None else clock.now()
        self._failing[verb] = _Failing(
            [replace(refusal, since=since) for refusal in failed],
            since,
            tries,
            clock.monotonic() + max(_pause(refusal, tries) for refusal in failed),
            living(),
        )


def _pause(refusal: Refusal, tries: int) -> float:
    """Until what failed is tried again: what was refused for a reason waits for somebody to do something about it."""
    if not refusal.transient:
        return doubled(tries, first=RETRY_REFUSED_SECONDS, last=_LONGEST_PAUSE)
    return max(refusal.retry_after, pause_after(tries, first=_FIRST_PAUSE, last=_LAST_PAUSE))
