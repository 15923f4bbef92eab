"""Pods that are there beyond what their job holds: of a job that was deleted, has failed, gave its share back or begins
anew, while they take their time to stop, or for ever where `kubectl delete --cascade=orphan` let them go. They count
against the quota until they are gone: else whoever ignores SIGTERM, and begins again and again, has more than it may.

What they hold is read from the pods themselves: whoever leads next, and never saw the job, counts the same.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from footplate.contract import Label
from footplate.machinery.line import Line
from footplate.objects import Key, Object, block, key_of, text, uid_of
from footplate.policy.pod import Pod
from footplate.policy.quota import leftover_of

Place = tuple[str, str]
"""Namespace, and a job's UID."""


class _Share(NamedTuple):
    """What one pod holds on its node, and of which job it is by its labels, whoever controls it."""

    place: Place
    job: str
    amount: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Held:
    """What the pods of one job hold on nodes."""

    job: str
    """Its name."""
    pods: int = 0
    amount: Counter[str] = field(default_factory=Counter)


class Leftovers:
    """Tells the line of them. `job_at` is the job of a key, where there is one."""

    def __init__(self, line: Line, job_at: Callable[[Key], Object | None]) -> None:
        self._line = line
        self._job_at = job_at
        self._held: dict[Place, _Held] = {}

    def job_changed(self, old: Object | None, new: Object | None) -> None:
        """A job appeared, changed or went."""
        for place in dict.fromkeys((key_of(job)[0], uid_of(job)) for job in (old, new) if job is not None):
            if place in self._held:
                self._tell(place, self._held[place])

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod appeared, changed or went."""
        before, after = _share_of(old), _share_of(new)
        if before == after:
            return
        for share, sign in ((before, -1), (after, 1)):
            if share is not None:
                self._count(share, sign)

    def _count(self, share: _Share, sign: int) -> None:
        held = self._held.setdefault(share.place, _Held(share.job))
        held.pods += sign
        for name, count in share.amount:
            held.amount[name] += sign * count
        if not held.pods:
            del self._held[share.place]
        self._tell(share.place, held)

    def _tell(self, place: Place, held: _Held) -> None:
        namespace, uid = place
        job = self._job_at((namespace, held.job))
        is_gone = job is None or uid_of(job) != uid
        key = namespace, f"{held.job} (stopping, {uid[:8]})"
        self._line.left_behind(key, leftover_of(held.amount, None if is_gone else job, key=key))


def _share_of(pod: Object | None) -> _Share | None:
    """None where it holds no node."""
    if pod is None or not text(block(pod, "spec"), "nodeName") or Pod.of(pod).terminal:
        return None
    labels, limits = block(pod, "metadata", "labels"), block(pod, "spec", "resources", "limits")
    uid = text(labels, Label.UID)
    return _Share((key_of(pod)[0], uid), text(labels, Label.JOB), (*limits.items(),)) if uid else None
