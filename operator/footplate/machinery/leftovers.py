"""Pods that are there beyond what their job holds: of a job that was deleted, has failed, gave its share back or begins
anew, while they take their time to stop, or for ever where `kubectl delete --cascade=orphan` let them go. They count
against the quota until they are gone: else whoever ignores SIGTERM, and begins again and again, has more than it may.
"""

from collections import Counter
from collections.abc import Callable

from footplate.contract import Label
from footplate.machinery.queue import Line
from footplate.objects import Key, Object, block, key_of, text, uid_of
from footplate.policy.pod import Pod

Place = tuple[str, str]
"""Namespace, and a job's UID."""


class Leftovers:
    """Tells the line of them. `job_at` is the job of a key, where there is one."""

    def __init__(self, line: Line, job_at: Callable[[Key], Object | None]) -> None:
        self._line = line
        self._job_at = job_at
        self._pods: Counter[Place] = Counter()
        self._deleted: dict[Place, Object] = {}

    def job_changed(self, old: Object | None, new: Object | None) -> None:
        """A job appeared, changed or went; the line has heard of it."""
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self._deleted[key_of(old)[0], uid_of(old)] = old
            self._tell(old)
        if new is not None:
            self._tell(new)

    def pod_changed(self, old: Object | None, new: Object | None) -> None:
        """A pod appeared, changed or went."""
        before, after = _place_held(old), _place_held(new)
        if before == after:
            return
        for place, more in ((before, -1), (after, 1)):
            if place is not None:
                self._count(place, more, named=text(block(old or new, "metadata", "labels"), Label.JOB))

    def _count(self, place: Place, more: int, *, named: str) -> None:
        self._pods[place] += more
        job = self._deleted.get(place) or self._job_at((place[0], named))
        if job is not None and uid_of(job) == place[1]:
            self._tell(job)
        if not self._pods[place]:
            del self._pods[place]

    def _tell(self, job: Object) -> None:
        place = key_of(job)[0], uid_of(job)
        is_gone = place in self._deleted
        if not self._line.left_behind(job, self._pods.get(place, 0), is_gone=is_gone) and is_gone:
            del self._deleted[place]


def _place_held(pod: Object | None) -> Place | None:
    """Whose pod its labels say it is, whoever controls it; None where it holds no node."""
    if pod is None or not text(block(pod, "spec"), "nodeName") or Pod.of(pod).terminal:
        return None
    uid = text(block(pod, "metadata", "labels"), Label.UID)
    return (key_of(pod)[0], uid) if uid else None
