"""Everything that the policies look at, in stores, and which jobs a change concerns."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from footplate.machinery.clock import Clock, SystemClock
from footplate.machinery.departed import DepartedPods
from footplate.machinery.gang_objects import GangObjects
from footplate.machinery.indexes import (
    end_of,
    finished_in,
    group_of,
    job_key_of,
    named_runtime,
    namespace_of,
    node_of,
    phase_of,
)
from footplate.machinery.leftovers import Leftovers
from footplate.machinery.line import Line
from footplate.machinery.slim import (
    slim_job,
    slim_namespace,
    slim_node,
    slim_pod,
    slim_policy,
    slim_priority_class,
    slim_runtime,
    stub_job,
    stub_pod,
    stub_policy,
    stub_runtime,
)
from footplate.machinery.store import Store, either
from footplate.objects import (
    OVERSIZE,
    Key,
    Object,
    block,
    blocks,
    is_controlled_by,
    key_of,
    place_of,
    place_of_controller,
    uid_of,
)
from footplate.policy import history
from footplate.policy.claims import Quota
from footplate.policy.conditions import EDITS_REFUSED
from footplate.policy.pod import Pod
from footplate.policy.quota import quota_of
from footplate.policy.selectors import selects

JOB_BYTES = 384 * 2**20
POD_BYTES = 448 * 2**20
RUNTIME_BYTES = 48 * 2**20
POLICY_BYTES = 48 * 2**20
"""What all jobs, all pods, all policies, and all runtimes of one kind may take. One namespace alone gets a third."""


class Cluster:
    """The stores, and the line of those that wait for a quota. Each change enqueues the jobs that may have to do
    something about it. `namespaces` are those served, none for all.
    """

    def __init__(
        self, enqueue: Callable[[Key], None], *, clock: Clock | None = None, namespaces: Collection[str] = ()
    ) -> None:
        self._enqueue = enqueue
        self.on_deleted: Callable[[Object], object] = lambda job: None
        """Called with each job as it was before it is deleted, when that begins."""
        self._served = namespaces
        self.line = Line(
            enqueue,
            clock=clock or SystemClock(),
            quotas=self._quotas,
            jobs_in=lambda namespace: self.jobs.indexed("namespace", namespace),
            runtime_of=self.runtime_of,
        )
        self.jobs = Store(
            on_change=self._job_changed,
            indexes={"runtime": named_runtime, "phase": phase_of, "namespace": namespace_of, "finished": finished_in},
            slim=slim_job,
            stub=stub_job,
            most_bytes=JOB_BYTES,
        )
        self.pods = Store(
            on_change=self._pod_changed,
            indexes={"owner": place_of_controller, "node": node_of, "group": group_of},
            slim=slim_pod,
            stub=stub_pod,
            most_bytes=POD_BYTES,
        )
        self._leftovers = Leftovers(self.line, self.jobs.get)
        self.nodes = Store(on_change=self._node_changed, slim=slim_node)
        self._nodes_by_name: dict[str, Object] = {}
        self.departed = DepartedPods(enqueue)
        self.gangs = GangObjects(enqueue, self.jobs)
        self.runtimes = self._store_of_runtimes()
        self.cluster_runtimes = self._store_of_runtimes()
        self.policies = Store(
            on_change=self._policy_changed, slim=slim_policy, stub=stub_policy, most_bytes=POLICY_BYTES
        )
        self.namespaces = Store(on_change=self._namespace_changed, slim=slim_namespace)
        self.priority_classes = Store(on_change=self._priority_class_changed, slim=slim_priority_class)

    @property
    def nodes_by_name(self) -> Mapping[str, Object]:
        """A live, read-only view of all nodes."""
        return MappingProxyType(self._nodes_by_name)

    def pods_of(self, job: Object) -> list[Object]:
        """The pods that the job controls, by the rule of `is_controlled_by`."""
        return self.pods.indexed("owner", place_of(job))

    def living_pods_of(self, job: Object) -> frozenset[str]:
        """UIDs of the job's pods that count against a quota."""
        return frozenset(uid_of(pod) for pod in self.pods_of(job) if not Pod.of(pod).terminal)

    def runtime_of(self, job: Object) -> Object | None:
        """The runtime that the job names, None where it names none or it isn't there."""
        named = named_runtime(job)
        if named is None:
            return None
        kind, key = named
        return (self.runtimes if kind == "TrainingRuntime" else self.cluster_runtimes).get(key)

    def policies_of(self, namespace: str) -> list[Object] | None:
        """The policies that select a namespace, by their names; None where it isn't known by which labels it goes."""
        labels = _known_labels(self.namespaces.get(("", namespace)))
        if labels is None:
            return None
        selected = (each for each in self.policies.objects().values() if selects(_selector_of(each), labels))
        return sorted(selected, key=key_of)

    def finished_since(self, job: Object) -> int:
        """Jobs of its namespace that finished after this one; 0 for one that hasn't."""
        own = finished_in(job)
        end = end_of(job)
        return sum(end_of(each) > end for each in self.jobs.indexed("finished", own)) if own is not None else 0

    def _store_of_runtimes(self) -> Store:
        return Store(on_change=self._runtime_changed, slim=slim_runtime, stub=stub_runtime, most_bytes=RUNTIME_BYTES)

    def _quotas(self) -> dict[str, Quota]:
        """The quotas of the namespaces that are served."""
        served = (name for _, name in self.namespaces.objects() if not self._served or name in self._served)
        found = {name: quota_of(self.policies_of(name) or ()) for name in served}
        return {name: quota for name, quota in found.items() if quota is not None}

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        key = key_of(either(old, new))
        self.line.job_changed(key, new)
        self._leftovers.job_changed(old, new)
        if old is not None and _is_deleted_by(old, new):
            self.on_deleted(old)
        if old is not None and (new is None or uid_of(new) != uid_of(old)):
            self.departed.forget(key)
        self._enqueue(key)
        namespace = None if new is None else finished_in(new)
        if namespace is not None and (old is None or finished_in(old) is None):
            self._look_at_surplus(namespace)

    def _priority_class_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["value"] != new["value"] or old["globalDefault"] != new["globalDefault"]:
            self.line.classes_changed([*self.priority_classes.objects().values()])

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        self._leftovers.pod_changed(old, new)
        if old is not None and new is None and Pod.of(old).ended:
            self._keep_last_words(old)
        # One that its job has let go, or that another has by now, concerns both.
        keys = (job_key_of(pod) for pod in (old, new) if pod is not None)
        for key in dict.fromkeys(key for key in keys if key is not None):
            self._enqueue(key)

    def _keep_last_words(self, pod: Object) -> None:
        """Of a job that is there alone: who stands by looks at none, and would keep them for ever."""
        key = job_key_of(pod)
        job = None if key is None else self.jobs.get(key)
        if key is not None and job is not None and is_controlled_by(pod, job):
            self.departed.add(key, pod)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        name = either(old, new)["metadata"]["name"]
        if new is None:
            del self._nodes_by_name[name]
        else:
            self._nodes_by_name[name] = new
        if old is not None and new is not None and _without_version(old) == _without_version(new):
            return
        for pod in self.pods.indexed("node", name):
            if (key := job_key_of(pod)) is not None:
                self._enqueue(key)

    def _runtime_changed(self, old: Object | None, new: Object | None) -> None:
        """Only jobs that wait for their runtime care: a run keeps the one it was started with. The line reads what a
        run holds from it where the run's status is of an old operator, and doesn't say.
        """
        runtime = either(old, new)
        for job in self.jobs.indexed("runtime", (runtime["kind"], key_of(runtime))):
            self.line.job_changed(key_of(job), job)
            if _may_wait(job):
                self._enqueue(key_of(job))

    def _policy_changed(self, old: Object | None, new: Object | None) -> None:
        """Jobs that wait may be allowed by now: those of namespaces that it selected, or selects."""
        self.line.quotas_changed()
        selectors = [_selector_of(policy) for policy in (old, new) if policy is not None]
        for (_, name), namespace in self.namespaces.objects().items():
            if any(selects(selector, block(namespace, "metadata", "labels")) for selector in selectors):
                self._look_at_waiting(name)
                self._look_at_surplus(name)

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        """Its labels say which policies hold; none do where it is gone."""
        if _known_labels(old) != _known_labels(new):
            _, name = key_of(either(old, new))
            self.line.quotas_changed()
            self._look_at_waiting(name)
            self._look_at_surplus(name)

    def _look_at_waiting(self, namespace: str) -> None:
        for job in self.jobs.indexed("namespace", namespace):
            if _may_wait(job) or _has_refused_edits(job):
                self._enqueue(key_of(job))

    def _look_at_surplus(self, namespace: str) -> None:
        """Finished jobs of which a policy keeps fewer go, those first that ended first."""
        most = history.limit(self.policies_of(namespace) or ())
        if most is not None:
            ended = sorted(self.jobs.indexed("finished", namespace), key=end_of)
            for job in ended[: max(0, len(ended) - most)]:
                self._enqueue(key_of(job))


def _is_deleted_by(old: Object, new: Object | None) -> bool:
    """Whether a change is the deletion of what was there, or its beginning."""
    if block(old, "metadata").get("deletionTimestamp"):
        return False
    return new is None or uid_of(new) != uid_of(old) or bool(block(new, "metadata").get("deletionTimestamp"))


def _known_labels(namespace: Object | None) -> Object | None:
    return None if namespace is None or OVERSIZE in namespace else block(namespace, "metadata", "labels")


def _has_refused_edits(job: Object) -> bool:
    return any(each.get("type") == EDITS_REFUSED for each in blocks(block(job, "status"), "conditions"))


def _selector_of(policy: Object) -> Object:
    return block(policy, "spec", "namespaceSelector")


def _may_wait(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return phase_of(job) == "Pending" or any(c["type"] == "Stalled" and c["status"] == "True" for c in conditions)


def _without_version(node: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in node["metadata"].items() if key != "resourceVersion"}
    return {**node, "metadata": metadata}
