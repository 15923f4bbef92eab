"""`historyLimit` where somebody creates again what it deletes, as Argo CD does: on and on, and nothing grows by it."""

import gc
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from footplate.api.scalars import format_time
from footplate.machinery.cluster import Cluster
from footplate.objects import Key
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from unit.machinery.support import FakeClock, make_job
from unit.policy.build import NOW

LIMIT = 2
HELD = 5
"""Jobs in the repository."""
JSON = dict[str, Any]


class Churn:
    """A namespace, and a repository of more finished jobs than its policy keeps."""

    def __init__(self) -> None:
        self.woken: list[Key] = []
        self.cluster = Cluster(self.woken.append, clock=FakeClock())
        self.created = self.deleted = 0
        self._version = 0
        selector: JSON = {"namespaceSelector": {}}
        quota = {"accelerators": {"nvidia.com/gpu": 8}}
        self.policy: JSON = {"metadata": {"name": "p"}, "spec": {**selector, "historyLimit": LIMIT, "quota": quota}}
        self._apply(self.cluster.namespaces, {"metadata": {"name": "ns"}})
        self._apply(self.cluster.policies, self.policy)

    def _apply(self, store: Any, obj: JSON, *, deleted: bool = False) -> None:
        self._version += 1
        obj["metadata"] = {**obj["metadata"], "resourceVersion": str(self._version)}
        store.apply(obj, deleted=deleted)

    def sync(self) -> None:
        """Creates what is missing, which is complete at once."""
        for name in (f"job-{number}" for number in range(HELD)):
            if self.cluster.jobs.get(("ns", name)) is not None:
                continue
            self.created += 1
            uid = f"uid-{self.created}"
            pod = _pod(name, uid)
            self._apply(self.cluster.jobs, make_job(name, uid=uid, spec={"nodes": 1}))
            self._apply(self.cluster.pods, pod)
            end = format_time(NOW + timedelta(seconds=self.created))
            status = {"uid": uid, "phase": "Succeeded", "reason": "AlreadyComplete", "run": 1, "completionTime": end}
            done = {"type": "Complete", "status": "True", "reason": "AlreadyComplete", "lastTransitionTime": end}
            self._apply(
                self.cluster.jobs,
                make_job(name, uid=uid, spec={"nodes": 1}, status={**status, "conditions": [done]}),
            )
            self._apply(self.cluster.pods, pod, deleted=True)

    def look(self) -> None:
        """At all jobs that are woken, until none is."""
        while self.woken:
            woken, self.woken[:] = {*self.woken}, []
            for key in woken:
                job = self.cluster.jobs.get(key)
                if job is None:
                    self.cluster.departed.forget(key)
                    continue
                since = self.cluster.finished_since(job)
                plan = reconcile(Observed(job, policies=[self.policy], finished_since=since), now=NOW)
                for target in plan.delete:
                    if target.kind == "TrainingJob":
                        self.deleted += 1
                        self._apply(self.cluster.jobs, {**job}, deleted=True)


def _pod(name: str, uid: str) -> JSON:
    owner = {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "name": name,
        "uid": uid,
        "controller": True,
    }
    labels = {"footplate.dev/job": name, "footplate.dev/job-uid": uid, "footplate.dev/rank": "0"}
    metadata = {"name": f"{name}-1-0-0", "namespace": "ns", "uid": f"pod-{uid}", "labels": labels}
    containers = [{"name": "trainer", "resources": {"limits": {"nvidia.com/gpu": "1"}}}]
    spec = {"nodeName": "n", "containers": containers}
    return {"metadata": {**metadata, "ownerReferences": [owner]}, "spec": spec, "status": {"phase": "Running"}}


def size(*roots: Any) -> int:
    """Items of all containers that hang on these."""
    seen: set[int] = set()
    todo, items = [*roots], 0
    while todo:
        one = todo.pop()
        if id(one) in seen or not (
            isinstance(one, Mapping | list | set) or type(one).__module__.startswith("footplate")
        ):
            continue
        seen.add(id(one))
        items += len(one) if isinstance(one, Mapping | list | set) else 0
        todo += gc.get_referents(one)
    return items


def test_who_creates_again_what_is_deleted_makes_nothing_grow() -> None:
    churn = Churn()
    sizes = []
    for _ in range(60):
        churn.sync()
        churn.look()
        jobs = churn.cluster.jobs.objects()
        assert len(jobs) == LIMIT, "the limit holds after each sync"
        sizes.append(size(churn.cluster))
    assert churn.created == HELD + 59 * (HELD - LIMIT)
    assert churn.deleted == churn.created - LIMIT, "each is deleted once"
    assert max(sizes[30:]) <= max(sizes[:10]), "what the operator knows"
