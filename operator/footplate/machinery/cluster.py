"""Everything that the policies look at, in stores, and which jobs a change concerns."""

from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Any

from footplate.api.status import Phase
from footplate.attempt_spec import group_name, job_of_group
from footplate.contract import Label
from footplate.gangs.kinds import GangKind
from footplate.gangs.state import GangState
from footplate.gangs.table import SCHEDULERS
from footplate.machinery.clock import Clock, SystemClock
from footplate.machinery.leftovers import Leftovers
from footplate.machinery.line import Line
from footplate.machinery.resources import TRAINING_JOBS
from footplate.machinery.slim import (
    slim_job,
    slim_namespace,
    slim_node,
    slim_pod,
    slim_pod_group,
    slim_policy,
    slim_priority_class,
    slim_runtime,
    slim_workload,
    stub_group,
    stub_job,
    stub_pod,
    stub_policy,
    stub_runtime,
)
from footplate.machinery.store import Store
from footplate.objects import (
    OVERSIZE,
    Key,
    Object,
    block,
    blocks,
    controller_of,
    key_of,
    place_of,
    place_of_controller,
    text,
    uid_of,
)
from footplate.policy import history
from footplate.policy.claims import Quota
from footplate.policy.conditions import EDITS_REFUSED
from footplate.policy.pod import Pod
from footplate.policy.quota import quota_of
from footplate.policy.selectors import selects

Enqueue = Callable[[Key], None]

JOB_BYTES = 384 * 2**20
POD_BYTES = 448 * 2**20
RUNTIME_BYTES = 48 * 2**20
POLICY_BYTES = 48 * 2**20
GROUP_BYTES = 32 * 2**20
"""What all jobs, all pods, all policies, and all runtimes and gangs' objects of one kind may take. One namespace alone
gets a third.
"""

_FINISHED = tuple(phase for phase in Phase if phase.finished)
_MOST_DEPARTED = 1024
"""Of one job, between two looks at it."""


class Cluster:
    """The stores, and the line of those that wait for a quota. Each change enqueues the jobs that may have to do
    something about it. `namespaces` are those served, none for all.
    """

    def __init__(self, enqueue: Enqueue, *, clock: Clock | None = None, namespaces: Collection[str] = ()) -> None:
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
            indexes={"runtime": _runtime_of, "phase": _phase_of, "namespace": _namespace_of, "finished": _finished_in},
            slim=slim_job,
            stub=stub_job,
            most_bytes=JOB_BYTES,
        )
        self.pods = Store(
            on_change=self._pod_changed,
            indexes={"owner": place_of_controller, "node": _node_of, "group": _group_of},
            slim=slim_pod,
            stub=stub_pod,
            most_bytes=POD_BYTES,
        )
        self._leftovers = Leftovers(self.line, self.jobs.get)
        self.nodes = Store(on_change=self._node_changed, slim=slim_node)
        self._nodes_by_name: dict[str, Object] = {}
        self._departed: dict[Key, dict[str, Object]] = {}
        self.groups = {kind: self._store_of_groups(kind) for kind in SCHEDULERS}
        self.gang_apis: Mapping[GangKind, str] = {}
        self.gangs_watched: frozenset[GangKind] = frozenset()
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

    def departed_of(self, key: Key) -> list[Object]:
        """The pods of a job of this key that are gone, as they were last, where their trainers had ended: a kubelet
        tells of an end and of the removal within milliseconds, and what a trainer says at its end, such as its last
        checkpoint, is in no other place. Each is kept until `note_look`.
        """
        return [*self._departed.get(key, {}).values()]

    def note_look(self, key: Key, pods: Collection[Object]) -> None:
        """A look at a job saw these pods, and what it decided is done: the next one sees no departed pod among them."""
        departed = self._departed.get(key)
        if departed is None:
            return
        seen = {uid_of(pod) for pod in pods}
        self._departed[key] = {uid: pod for uid, pod in departed.items() if uid not in seen}
        if len(self._departed[key]) < len(departed):
            self._enqueue(key)
        if not self._departed[key]:
            del self._departed[key]

    def forget(self, key: Key) -> None:
        """There is no job of this key."""
        self._departed.pop(key, None)

    def living_pods_of(self, job: Object) -> frozenset[str]:
        """UIDs of the job's pods that count against a quota."""
        return frozenset(uid_of(pod) for pod in self.pods_of(job) if not Pod.of(pod).terminal)

    def gang_state_of(self, job: Object) -> GangState:
        """What other people's schedulers offer, and say of the job's gangs."""
        found = [group for store in self.groups.values() for group in store.indexed("job", place_of(job))]
        workloads = self.groups[GangKind.KUEUE].indexed("job", key_of(job))
        return GangState(self.gang_apis, self.gangs_watched, [*found, *workloads])

    def observe_group(self, group: Object) -> None:
        """Takes over the answer to a write of a PodGroup."""
        for kind, api in self.gang_apis.items():
            if group["apiVersion"] == api:
                self.groups[kind].observe(group)

    def note_group_deleted(self, key: Key, api: str, answer: Object | None) -> None:
        """A PodGroup was deleted; `answer` is what is left of it, where something holds it."""
        if answer is not None and answer["kind"] == "PodGroup":
            self.observe_group(answer)
            return
        for store in (self.groups[kind] for kind, served in self.gang_apis.items() if served == api):
            if (seen := store.get(key)) is not None:
                store.discard(key, uid=uid_of(seen))

    def forget_groups(self, kind: GangKind) -> None:
        """These objects aren't served any more."""
        self.gangs_watched -= {kind}
        for key, group in [*self.groups[kind].objects().items()]:
            self.groups[kind].discard(key, uid=uid_of(group))

    def note_gang_apis(self, apis: Mapping[GangKind, str]) -> None:
        """What the API server serves now; jobs that wait for it go on."""
        if apis == self.gang_apis:
            return
        self.gang_apis = apis
        for job in self.jobs.indexed("phase", "Pending"):
            self._enqueue(key_of(job))

    def runtime_of(self, job: Object) -> Object | None:
        """The runtime that the job names, None where it names none or it isn't there."""
        named = _runtime_of(job)
        if named is None:
            return None
        kind, key = named
        return (self.runtimes if kind == "TrainingRuntime" else self.cluster_runtimes).get(key)

    def policies_of(self, namespace: str) -> list[Object] | None:
        """The policies that select a namespace, by their names; None where it isn't known by which labels it goes."""
        found = self.namespaces.get(("", namespace))
        if found is None or OVERSIZE in found:
            return None
        labels = block(found, "metadata", "labels")
        selected = (each for each in self.policies.objects().values() if selects(_selector_of(each), labels))
        return sorted(selected, key=key_of)

    def _store_of_groups(self, kind: GangKind) -> Store:
        is_workload = kind is GangKind.KUEUE
        return Store(
            on_change=self._workload_changed if is_workload else self._group_changed,
            indexes={"job": _job_of_workload if is_workload else place_of_controller},
            slim=slim_workload if is_workload else slim_pod_group,
            stub=stub_group,
            most_bytes=GROUP_BYTES,
        )

    def finished_since(self, job: Object) -> int:
        """Jobs of its namespace that finished after this one; 0 for one that hasn't."""
        own = _finished_in(job)
        end = _end_of(job)
        return sum(_end_of(each) > end for each in self.jobs.indexed("finished", own)) if own is not None else 0

    def _store_of_runtimes(self) -> Store:
        return Store(on_change=self._runtime_changed, slim=slim_runtime, stub=stub_runtime, most_bytes=RUNTIME_BYTES)

    def _quotas(self) -> dict[str, Quota]:
        """The quotas of the namespaces that are served."""
        served = (name for _, name in self.namespaces.objects() if not self._served or name in self._served)
        found = {name: quota_of(self.policies_of(name) or ()) for name in served}
        return {name: quota for name, quota in found.items() if quota is not None}

    def _job_changed(self, old: Object | None, new: Object | None) -> None:
        key = key_of(_present(old, new))
        self.line.job_changed(key, new)
        self._leftovers.job_changed(old, new)
        if old is not None and _is_deleted_by(old, new):
            self.on_deleted(old)
        self._enqueue(key)
        namespace = None if new is None else _finished_in(new)
        if namespace is not None and (old is None or _finished_in(old) is None):
            self._look_at_surplus(namespace)

    def _priority_class_changed(self, old: Object | None, new: Object | None) -> None:
        if old is None or new is None or old["value"] != new["value"] or old["globalDefault"] != new["globalDefault"]:
            self.line.classes_changed([*self.priority_classes.objects().values()])

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        self._leftovers.pod_changed(old, new)
        key = _job_key_of(_present(old, new))
        if key is None:
            return
        if old is not None and new is None and Pod.of(old).ended:
            departed = self._departed.setdefault(key, {})
            departed[uid_of(old)] = old
            if len(departed) > _MOST_DEPARTED:
                del departed[next(iter(departed))]
        self._enqueue(key)

    def _group_changed(self, old: Object | None, new: Object | None) -> None:
        key = _job_key_of(_present(old, new))
        if key is not None:
            self._enqueue(key)

    def _workload_changed(self, old: Object | None, new: Object | None) -> None:
        key = _job_of_workload(_present(old, new))
        if key is not None and self.jobs.get(key) is not None:
            self._enqueue(key)

    def _node_changed(self, old: Object | None, new: Object | None) -> None:
        name = _present(old, new)["metadata"]["name"]
        if new is None:
            del self._nodes_by_name[name]
        else:
            self._nodes_by_name[name] = new
        if old is not None and new is not None and _without_version(old) == _without_version(new):
            return
        for pod in self.pods.indexed("node", name):
            self._pod_changed(None, pod)

    def _runtime_changed(self, old: Object | None, new: Object | None) -> None:
        """Only jobs that wait for their runtime care: a run keeps the one it was started with."""
        runtime = _present(old, new)
        for job in self.jobs.indexed("runtime", (runtime["kind"], key_of(runtime))):
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
        """Its labels say which policies hold."""
        if block(old, "metadata", "labels") != block(new, "metadata", "labels") or old is None:
            _, name = key_of(_present(old, new))
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
            ended = sorted(self.jobs.indexed("finished", namespace), key=_end_of)
            for job in ended[: max(0, len(ended) - most)]:
                self._enqueue(key_of(job))


def _is_deleted_by(old: Object, new: Object | None) -> bool:
    """Whether a change is the deletion of what was there, or its beginning."""
    if block(old, "metadata").get("deletionTimestamp"):
        return False
    return new is None or uid_of(new) != uid_of(old) or bool(block(new, "metadata").get("deletionTimestamp"))


def _present(old: Object | None, new: Object | None) -> Object:
    obj = new if new is not None else old
    if obj is None:
        raise ValueError("a change has an old object, a new one, or both")
    return obj


def _job_key_of(pod: Object) -> Key | None:
    controller = controller_of(pod)
    if controller is None or controller.get("kind") != "TrainingJob" or controller["apiVersion"] != TRAINING_JOBS.api:
        return None
    return pod["metadata"]["namespace"], controller["name"]


def _group_of(pod: Object) -> Key | None:
    """Namespace and name of the group that the pod is in, if its gang is known as one to anybody; scouts aren't."""
    labels = block(pod, "metadata", "labels")
    if str(Label.SCOUT) in labels or controller_of(pod) is None:
        return None
    job, uid, run, attempt = (text(labels, label) for label in (Label.JOB, Label.UID, Label.RUN, Label.ATTEMPT))
    if not (run.isdigit() and attempt.isdigit()):
        return None
    return key_of(pod)[0], group_name(job, run=int(run), attempt=int(attempt), uid=uid)


def _job_of_workload(workload: Object) -> Key | None:
    namespace, name = key_of(workload)
    job = job_of_group(name)
    return None if job is None else (namespace, job)


def _node_of(pod: Object) -> str | None:
    return pod["spec"].get("nodeName") or None


def _phase_of(job: Object) -> str:
    return (job.get("status") or {}).get("phase") or "Pending"


def _has_refused_edits(job: Object) -> bool:
    return any(each.get("type") == EDITS_REFUSED for each in blocks(block(job, "status"), "conditions"))


def _finished_in(job: Object) -> str | None:
    return key_of(job)[0] if _phase_of(job) in _FINISHED else None


def _end_of(job: Object) -> tuple[str, str]:
    """When a job finished; those of one second have an order too."""
    return text(block(job, "status"), "completionTime"), key_of(job)[1]


def _namespace_of(job: Object) -> str:
    return key_of(job)[0]


def _selector_of(policy: Object) -> Object:
    return block(policy, "spec", "namespaceSelector")


def _runtime_of(job: Object) -> tuple[str, Key] | None:
    reference = (job.get("spec") or {}).get("runtimeRef")
    if not isinstance(reference, dict) or not isinstance(reference.get("name"), str):
        return None
    kind = reference.get("kind") or "ClusterTrainingRuntime"
    namespace = job["metadata"]["namespace"] if kind == "TrainingRuntime" else ""
    return kind, (namespace, reference["name"])


def _may_wait(job: Object) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return _phase_of(job) == "Pending" or any(c["type"] == "Stalled" and c["status"] == "True" for c in conditions)


def _without_version(node: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in node["metadata"].items() if key != "resourceVersion"}
    return {**node, "metadata": metadata}
