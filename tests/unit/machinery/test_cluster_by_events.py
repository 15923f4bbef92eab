"""However a cluster came to know of what there is, it holds what one holds that lists it once: whatever was told twice,
never, late, or of an object made anew under the same name. What is counted by events is recomputed from the objects.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from footplate.api.scalars import format_time
from footplate.machinery.cluster import Cluster
from footplate.machinery.store import Store
from footplate.objects import Key, key_of
from footplate.policy.plan import Admission
from footplate.policy.queue import settle
from unit.machinery.support import START, FakeClock

JSON = dict[str, Any]

GPU, TPU = "nvidia.com/gpu", "google.com/tpu"
API = "footplate.dev/v1alpha1"
STORES = ("jobs", "pods", "nodes", "cluster_runtimes", "policies", "namespaces", "priority_classes")
BESIDE_A_WATCH = ("jobs", "cluster_runtimes", "policies")
"""What is listed while events go on."""

JOBS, NAMESPACES, NODES, POLICIES = ("x", "y", "z"), ("a", "b"), ("n1", "n2"), ("p1", "p2")
TIMES = [format_time(START.replace(hour=hour)) for hour in range(3)]


class Server:
    """What there is."""

    def __init__(self) -> None:
        self.version = 10
        self.objects: dict[str, dict[Key, JSON]] = {store: {} for store in STORES}

    def write(self, store: str, obj: JSON, *, anew: bool = False) -> JSON:
        self.version += 1
        metadata, key = obj["metadata"], key_of(obj)
        old = self.objects[store].get(key)
        uid = f"{store}-{self.version:08}" if old is None or anew else old["metadata"]["uid"]
        written = {**obj, "metadata": {"uid": uid, **metadata, "resourceVersion": str(self.version)}}
        self.objects[store][key] = written
        return written

    def delete(self, store: str, key: Key) -> JSON:
        self.version += 1
        gone = self.objects[store].pop(key)
        return {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}}


def replace(cluster: Cluster, store: str, objects: Mapping[Key, JSON], version: int) -> None:
    kept: Store = getattr(cluster, store)
    kept.replace([*map(kept.slim, deepcopy([*objects.values()]))], str(version))


def what_is_held(cluster: Cluster) -> Iterator[tuple[str, object]]:
    """All that is counted or looked up, in the order in which it would explain itself."""
    for name in STORES:
        store: Store = getattr(cluster, name)
        yield name, dict(store.objects())
        yield (
            f"indexes of {name}",
            {
                index: {value: sorted(found) for value, found in values.items()}
                for index, values in store._indexes.items()
            },
        )
        yield f"room of {name}", (store._room.free, +store._room._held, store._weights)
    yield "nodes by name", dict(cluster.nodes_by_name)
    yield "policies", {name: cluster.policies_of(name) for name in NAMESPACES}
    yield "pods", {key: sorted(map(key_of, cluster.pods_of(job))) for key, job in cluster.jobs.objects().items()}
    yield "finished since", {key: cluster.finished_since(job) for key, job in cluster.jobs.objects().items()}
    yield "pods on nodes", {place: (held.pods, +held.amount) for place, held in cluster._leftovers._held.items()}
    cluster.line.settle()
    book = cluster.line._book
    yield "quotas", dict(book.quotas)
    yield "pool", book.pool
    yield "claims", book.claims
    for name, sums in (("used", book.used), ("left", book.left)):
        yield name, {namespace: found for namespace, each in sums.items() if (found := _more_than_none(each))}
    yield "total", _more_than_none(book.total)
    yield "holders", {namespace: found for namespace, found in book.holders.items() if found}
    yield "lines", (book.lines, book.line, book.growing, book.leaving)
    yield "round", settle(book, now=START.timestamp())


def _more_than_none(sums: Mapping[str, int]) -> JSON:
    return {name: count for name, count in sums.items() if count}


class ByEvents(RuleBasedStateMachine):
    """An operator that is told by events, and never asks but as it does."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Server()
        self.cluster = Cluster(lambda key: None, clock=FakeClock())
        self.departed: list[JSON] = []
        self.behind: set[str] = set()
        """Stores that were not told of something."""
        self.listing: dict[str, tuple[dict[Key, JSON], int]] = {}

    def _tell(self, store: str, obj: JSON, how: str, *, deleted: bool = False) -> None:
        told: Store = getattr(self.cluster, store)
        if how == "never":
            self.behind.add(store)
            return
        if how == "answer first" and deleted:
            told.discard(key_of(obj), uid=obj["metadata"]["uid"])
        elif how == "answer first":
            told.observe(deepcopy(obj))
        for _ in range(1 + (how == "twice")):
            told.apply(deepcopy(obj), deleted=deleted)

    def _write(self, store: str, obj: JSON, how: str, *, anew: bool = False) -> None:
        old = self.server.objects[store].get(key_of(obj))
        if old is not None and anew and how != "never":
            self._delete(store, key_of(obj), how)
        self._tell(store, self.server.write(store, obj, anew=anew), how)

    def _delete(self, store: str, key: Key, how: str) -> None:
        if key in self.server.objects[store]:
            self._tell(store, self.server.delete(store, key), how, deleted=True)

    @initialize()
    def quotas(self) -> None:
        """Of both namespaces, so that there is a line from the first job on."""
        for name in NAMESPACES:
            self._write("namespaces", {"metadata": {"name": name, "labels": {"tenant": "yes"}}}, "event")
        spec = {"namespaceSelector": {}, "quota": {"accelerators": {GPU: 8}, "loanSeconds": 60, "borrowing": {}}}
        self._write("policies", {"metadata": {"name": POLICIES[0]}, "spec": spec}, "event")

    HOW = st.sampled_from(["event", "event", "twice", "answer first", "never"])
    NAMESPACE = st.sampled_from(NAMESPACES)
    JOB = st.tuples(NAMESPACE, st.sampled_from(JOBS))

    @rule(name=NAMESPACE, labels=st.sampled_from([{}, {"tenant": "yes"}, {"big": "x" * 20_000}]), how=HOW)
    def namespace(self, name: str, labels: JSON, how: str) -> None:
        self._write("namespaces", {"metadata": {"name": name, "labels": labels}}, how)

    @rule(
        name=st.sampled_from(POLICIES),
        selector=st.sampled_from([{}, {"matchLabels": {"tenant": "yes"}}]),
        quota=st.sampled_from([None, {GPU: 8}, {GPU: 4, TPU: 4}]),
        borrows=st.booleans(),
        how=HOW,
    )
    def policy(self, name: str, selector: JSON, quota: JSON | None, borrows: bool, how: str) -> None:
        spec: JSON = {"namespaceSelector": selector}
        if quota is not None:
            spec["quota"] = {"accelerators": quota, "loanSeconds": 60, **({"borrowing": {}} if borrows else {})}
        self._write("policies", {"metadata": {"name": name}, "spec": spec}, how)

    @rule(
        key=JOB,
        phase=st.sampled_from(["", "Pending", "Queued", "Queued", "Running", "Running", "Restarting", "Succeeded"]),
        gpus=st.sampled_from([{GPU: 4}, {TPU: 2}, {GPU: 1, TPU: 1}]),
        nodes=st.integers(0, 2),
        since=st.sampled_from(TIMES),
        class_=st.sampled_from(["", "high"]),
        anew=st.booleans(),
        how=HOW,
    )
    def job(self, key: Key, phase: str, gpus: JSON, nodes: int, since: str, class_: str, anew: bool, how: str) -> None:
        """One in the line, or that holds nodes of it, or none yet."""
        place = {
            "accelerators": gpus, "wanted": 2, "least": 1, "nodes": nodes, "saves": True,
            "since": since, "changedTime": since, "priorityClassName": class_,
        }  # fmt: skip
        status = {"phase": phase, "queue": place, "completionTime": since} if phase else {}
        self._write("jobs", _job(key, status), how, anew=anew)

    @rule(key=JOB, how=HOW)
    def job_of_an_old_operator(self, key: Key, how: str) -> None:
        """What it holds is read from its runtime."""
        attempt = {"attempt": 0, "startTime": TIMES[0], "createdTime": TIMES[0]}
        self._write("jobs", _job(key, {"phase": "Running", "attempts": [attempt]}), how)

    @rule(
        key=JOB,
        rank=st.integers(0, 1),
        node=st.sampled_from(["", *NODES]),
        phase=st.sampled_from(["Pending", "Running", "Running", "Failed"]),
        owned=st.booleans(),
        known=st.booleans(),
        gpus=st.sampled_from([{GPU: "4"}, {TPU: "2"}, {}]),
        anew=st.booleans(),
        how=HOW,
    )
    def pod(
        self, key: Key, rank: int, node: str, phase: str, owned: bool, known: bool, gpus: JSON, anew: bool, how: str
    ) -> None:
        """Of a job that is there, or of one that was; let go by it, perhaps."""
        job = self.server.objects["jobs"].get(key)
        uid = job["metadata"]["uid"] if job is not None and known else "gone"
        labels = {"footplate.dev/job": key[1], "footplate.dev/job-uid": uid, "footplate.dev/rank": str(rank)}
        owner = {"apiVersion": API, "kind": "TrainingJob", "name": key[1], "uid": uid, "controller": True}
        metadata = {"namespace": key[0], "name": f"{key[1]}-1-0-{rank}", "labels": labels}
        pod = {
            "metadata": {**metadata, "ownerReferences": [owner] if owned else []},
            "spec": {"nodeName": node, "containers": [{"resources": {"limits": gpus}}]},
            "status": {"phase": phase},
        }
        self._write("pods", pod, how, anew=anew)

    @rule(name=st.sampled_from(NODES), unschedulable=st.booleans(), how=HOW)
    def node(self, name: str, unschedulable: bool, how: str) -> None:
        self._write("nodes", {"metadata": {"name": name}, "spec": {"unschedulable": unschedulable}}, how)

    @rule(gpus=st.sampled_from(["1", "4"]), how=HOW)
    def runtime(self, gpus: str, how: str) -> None:
        runtime = {"kind": "ClusterTrainingRuntime", "metadata": {"name": "torch"}}
        spec = {"nodes": 2, "resources": {"limits": {GPU: gpus}}}
        self._write("cluster_runtimes", {**runtime, "spec": spec}, how)

    @rule(value=st.integers(0, 2), default=st.booleans(), how=HOW)
    def priority_class(self, value: int, default: bool, how: str) -> None:
        self._write("priority_classes", {"metadata": {"name": "high"}, "value": value, "globalDefault": default}, how)

    @rule(data=st.data(), how=HOW)
    def delete(self, data: st.DataObject, how: str) -> None:
        found = [(store, key) for store, objects in self.server.objects.items() for key in objects]
        if found:
            self._delete(*data.draw(st.sampled_from(found)), how)

    @precondition(lambda self: "jobs" not in self.behind)
    @rule()
    def look(self) -> None:
        """Jobs ask, and do as they are told; asked again at once, they are told nothing more."""
        self.cluster.line.settle()
        for key, job in [*self.server.objects["jobs"].items()]:
            told = self.cluster.line.admission_of(job)
            if told is not None and (told.nodes or told.keeps is not None):
                self._do(key, job, told)

    def _do(self, key: Key, job: JSON, told: Admission) -> None:
        place = {**job["status"]["queue"], "changedTime": TIMES[0]}
        place |= {"nodes": told.nodes} if told.nodes else {"leaves": told.keeps}
        self._tell("jobs", self.server.write("jobs", {**job, "status": {**job["status"], "queue": place}}), "event")
        again = self.cluster.line.admission_of(self.server.objects["jobs"][key])
        assert again is not None
        assert (again.nodes, again.keeps) == (0, None)

    @rule(store=st.sampled_from(BESIDE_A_WATCH))
    def list_begins(self, store: str) -> None:
        self._end_list(store)
        getattr(self.cluster, store).expect_list()
        self.listing[store] = dict(self.server.objects[store]), self.server.version

    @precondition(lambda self: self.listing)
    @rule(data=st.data())
    def list_ends(self, data: st.DataObject) -> None:
        """What was told meanwhile is newer."""
        self._end_list(data.draw(st.sampled_from(sorted(self.listing))))

    @rule(store=st.sampled_from(STORES))
    def relist(self, store: str) -> None:
        self._relist(store)

    @rule()
    def compare(self) -> None:
        """With one that lists once."""
        self._compare()

    def _compare(self) -> None:
        for store in [*self.listing]:
            self._end_list(store)
        for store in sorted(self.behind):
            self._relist(store)
        fresh = Cluster(lambda key: None, clock=FakeClock())
        for store in reversed(STORES):
            replace(fresh, store, self.server.objects[store], self.server.version)
        for (what, found), (_, expected) in zip(what_is_held(self.cluster), what_is_held(fresh), strict=True):
            assert found == expected, what

    def teardown(self) -> None:
        self._compare()

    def _relist(self, store: str) -> None:
        self._end_list(store)
        replace(self.cluster, store, self.server.objects[store], self.server.version)
        self.behind.discard(store)

    def _end_list(self, store: str) -> None:
        if store in self.listing:
            objects, version = self.listing.pop(store)
            replace(self.cluster, store, objects, version)


def _job(key: Key, status: JSON) -> JSON:
    spec = {"runtimeRef": {"name": "torch"}, "trainer": {}}
    return {"apiVersion": API, "kind": "TrainingJob", "metadata": dict(zip(("namespace", "name"), key, strict=True)),
            "spec": spec, "status": status}  # fmt: skip


TestByEvents: Callable[..., object] = ByEvents.TestCase
ByEvents.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, database=None,
    phases=[Phase.generate],  # what fails shrinks for minutes
    suppress_health_check=[*HealthCheck],
)  # fmt: skip
