from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from footplate.machinery.cluster import Cluster
from footplate.machinery.custom_resources import CustomResources
from footplate.machinery.resources import TRAINING_JOBS
from unit.machinery.support import FakeClock, make, make_job, make_pod, owned_by

KEY = ("ns", "job")
STALLED = {"phase": "Pending", "conditions": [{"type": "Stalled", "status": "True"}]}


class Enqueued(list[Any]):
    def taken(self) -> list[Any]:
        taken = self[:]
        self.clear()
        return taken


@pytest.fixture
def enqueued() -> Enqueued:
    return Enqueued()


@pytest.fixture
def cluster(enqueued: Enqueued) -> Cluster:
    return Cluster(enqueued.append)


def node(version: int, *, ready: str = "True", beat: int = 0) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": f"{beat}"}]
    return make("n1", namespace="", version=version, status={"conditions": conditions, "images": ["bulk"]})


def test_a_change_of_a_job_or_of_its_pod_concerns_the_job(cluster: Cluster, enqueued: Enqueued) -> None:
    job = make_job()
    cluster.jobs.apply(job, deleted=False)
    assert enqueued.taken() == [KEY]
    pod = make_pod(job)
    cluster.pods.apply(pod, deleted=False)
    assert enqueued.taken() == [KEY]
    cluster.pods.apply(pod, deleted=True)
    assert enqueued.taken() == [KEY]
    cluster.jobs.apply(job, deleted=True)
    assert enqueued.taken() == [KEY]


@pytest.mark.parametrize(
    "owners",
    [
        pytest.param([], id="nobody's"),
        pytest.param([{**owned_by(make_job())[0], "kind": "Job", "uid": "x"}], id="another kind's"),
        pytest.param([{**owned_by(make_job())[0], "controller": False}], id="not controlled"),
    ],
)
def test_a_foreign_pod_concerns_nobody(cluster: Cluster, enqueued: Enqueued, owners: Any) -> None:
    cluster.pods.apply(make("p", metadata={"ownerReferences": owners}), deleted=False)
    assert enqueued == []
    assert cluster.pods_of(make_job()) == []


def test_a_job_has_the_pods_of_its_uid_not_of_its_name(cluster: Cluster) -> None:
    cluster.pods.observe(make_pod(make_job(uid="before"), 0))
    cluster.pods.observe(make_pod(make_job(uid="now"), 1))
    assert [pod["metadata"]["name"] for pod in cluster.pods_of(make_job(uid="now"))] == ["job-1-0-1"]


def test_a_job_has_no_pods_in_another_namespace(cluster: Cluster) -> None:
    """Anybody may write a job's UID into a pod of his own."""
    job, pod = make_job(), make_pod(make_job())
    cluster.pods.observe({**pod, "metadata": {**pod["metadata"], "namespace": "other"}})
    assert cluster.pods_of(job) == []
    assert cluster.living_pods_of(job) == frozenset()


def test_a_node_concerns_the_jobs_on_it_but_not_its_heartbeat(cluster: Cluster, enqueued: Enqueued) -> None:
    cluster.pods.observe(make_pod(make_job(), spec={"nodeName": "n1"}))
    cluster.pods.observe(make_pod(make_job("other", uid="o"), spec={"nodeName": "n2"}))
    enqueued.clear()
    cluster.nodes.apply(node(1), deleted=False)
    assert enqueued.taken() == [KEY]
    cluster.nodes.apply(node(2, beat=1), deleted=False)
    assert enqueued.taken() == []
    cluster.nodes.apply(node(3, ready="False"), deleted=False)
    assert enqueued.taken() == [KEY]
    assert cluster.nodes_by_name["n1"]["status"]["conditions"] == [{"type": "Ready", "status": "False"}]
    cluster.nodes.apply(node(4), deleted=True)
    assert enqueued.taken() == [KEY]
    assert cluster.nodes_by_name == {}


@pytest.mark.parametrize(
    ("kind", "namespace", "reference"),
    [
        ("ClusterTrainingRuntime", "", {"name": "torch"}),
        ("ClusterTrainingRuntime", "", {"kind": "ClusterTrainingRuntime", "name": "torch"}),
        ("TrainingRuntime", "ns", {"kind": "TrainingRuntime", "name": "torch"}),
    ],
)
def test_a_runtime_concerns_those_that_wait_for_it(
    cluster: Cluster, enqueued: Enqueued, kind: str, namespace: str, reference: Any
) -> None:
    waiting = make_job(spec={"runtimeRef": reference}, status=STALLED)
    running = make_job("running", uid="r", spec={"runtimeRef": reference}, status={"phase": "Running"})
    for job in (waiting, running, make_job("none", uid="n", status=STALLED)):
        cluster.jobs.observe(job)
    enqueued.clear()
    runtime = {**make("torch", namespace=namespace), "kind": kind}
    (cluster.runtimes if namespace else cluster.cluster_runtimes).apply(runtime, deleted=False)
    assert enqueued == [KEY]
    found = cluster.runtime_of(waiting)
    assert found is not None
    assert found["kind"] == kind


@pytest.mark.parametrize("reference", [None, "torch", {}, {"name": 7}, {"name": "missing"}])
def test_a_runtime_that_isnt_there_or_isnt_a_name_is_none(cluster: Cluster, reference: Any) -> None:
    job = make_job(spec={"runtimeRef": reference})
    cluster.jobs.observe(job)
    assert cluster.runtime_of(job) is None


def namespace(name: str = "ns", version: int = 1, **labels: Any) -> dict[str, Any]:
    return {**make(name, namespace="", version=version, metadata={"labels": labels}), "kind": "Namespace"}


def policy(name: str, version: int = 1, **labels: str) -> dict[str, Any]:
    spec = {"namespaceSelector": {"matchLabels": labels}}
    return {**make(name, namespace="", version=version, spec=spec), "kind": "TrainingPolicy"}


def test_a_namespace_has_the_policies_that_select_it_once_its_labels_are_known(cluster: Cluster) -> None:
    for each in (policy("tenants", tenant="yes"), policy("all"), policy("others", tenant="no")):
        cluster.policies.apply(each, deleted=False)
    assert cluster.policies_of("ns") is None
    cluster.namespaces.apply(namespace(tenant="yes"), deleted=False)
    assert [each["metadata"]["name"] for each in cluster.policies_of("ns") or ()] == ["all", "tenants"]


def test_labels_that_are_too_many_to_be_kept_arent_known(cluster: Cluster) -> None:
    labels = {f"label-{number}": "x" * 63 for number in range(300)}
    cluster.namespaces.apply(namespace(**labels), deleted=False)
    assert cluster.policies_of("ns") is None


def test_a_policy_that_is_too_big_to_be_kept_still_selects(cluster: Cluster) -> None:
    whole = policy("big", tenant="yes")
    whole["spec"]["imagePrefixes"] = ["x" * 300_000]
    cluster.policies.apply(whole, deleted=False)
    cluster.namespaces.apply(namespace(tenant="yes"), deleted=False)
    [kept] = cluster.policies_of("ns") or ()
    assert kept["oversize"]["bytes"] > 300_000
    assert kept["spec"] == {"namespaceSelector": {"matchLabels": {"tenant": "yes"}}}


def test_a_policy_concerns_those_that_wait_in_its_namespaces(cluster: Cluster, enqueued: Enqueued) -> None:
    cluster.namespaces.apply(namespace(tenant="yes"), deleted=False)
    for each in (make_job(status=STALLED), make_job("running", uid="r", status={"phase": "Running"})):
        cluster.jobs.observe(each)
    enqueued.clear()
    cluster.policies.apply(policy("others", 2, tenant="no"), deleted=False)
    assert enqueued.taken() == []
    cluster.policies.apply(policy("tenants", 3, tenant="yes"), deleted=False)
    assert enqueued.taken() == [KEY]
    cluster.policies.apply(policy("tenants", 4, tenant="other"), deleted=False)
    assert enqueued.taken() == [KEY], "which it selected before"
    cluster.policies.apply(policy("tenants", 5, tenant="other"), deleted=True)
    assert enqueued.taken() == []


def test_labels_of_a_namespace_concern_those_that_wait_in_it(cluster: Cluster, enqueued: Enqueued) -> None:
    cluster.jobs.observe(make_job(status=STALLED))
    enqueued.clear()
    cluster.namespaces.apply(namespace(), deleted=False)
    assert enqueued.taken() == [KEY]
    cluster.namespaces.apply(namespace(version=2), deleted=False)
    assert enqueued.taken() == []
    cluster.namespaces.apply(namespace(version=3, tenant="yes"), deleted=False)
    assert enqueued.taken() == [KEY]


def finished(name: str, end: str) -> dict[str, Any]:
    return make_job(name, uid=name, status={"phase": "Succeeded", "completionTime": end})


def test_of_finished_jobs_each_knows_how_many_ended_after_it(cluster: Cluster) -> None:
    jobs = [
        finished("b", "2026-01-01T00:00:01Z"),
        finished("a", "2026-01-01T00:00:01Z"),
        finished("c", "2026-01-01T00:00:02Z"),
    ]
    for each in (*jobs, make_job("living", uid="l", status={"phase": "Running"})):
        cluster.jobs.observe(each)
    assert [cluster.finished_since(each) for each in jobs] == [1, 2, 0]
    assert cluster.finished_since(make_job("living", status={"phase": "Running"})) == 0


def test_a_job_that_finishes_concerns_those_that_ended_too_long_ago(cluster: Cluster, enqueued: Enqueued) -> None:
    cluster.namespaces.apply(namespace(), deleted=False)
    history = policy("history", 2)
    history["spec"] = {"namespaceSelector": {}, "historyLimit": 1}
    cluster.policies.apply(history, deleted=False)
    cluster.jobs.observe(finished("first", "2026-01-01T00:00:01Z"))
    enqueued.clear()
    cluster.jobs.observe(finished("second", "2026-01-01T00:00:02Z"))
    assert enqueued.taken() == [("ns", "second"), ("ns", "first")]


def test_a_job_whose_edit_was_refused_is_looked_at_when_a_policy_changes(cluster: Cluster, enqueued: Enqueued) -> None:
    cluster.namespaces.apply(namespace(), deleted=False)
    held = {"phase": "Suspended", "conditions": [{"type": "EditsRefused", "status": "True"}]}
    cluster.jobs.observe(make_job(status=held))
    enqueued.clear()
    cluster.policies.apply(policy("all", 2), deleted=False)
    assert enqueued.taken() == [KEY]


def test_what_nobody_reads_is_not_kept(cluster: Cluster) -> None:
    bulk = {"managedFields": [{"x": 1}], "annotations": {"a": "b"}}
    spec = {"containers": [{"name": "trainer", "env": []}], "nodeName": "n1"}
    cluster.pods.observe(make_pod(make_job(), spec=spec, metadata=bulk))
    [pod] = cluster.pods_of(make_job())
    assert pod["spec"] == {"nodeName": "n1"}
    assert not {"managedFields", "annotations"} & pod["metadata"].keys()


@pytest.mark.parametrize("uid", ["", "other"], ids=["nobody's", "another job's"])
def test_a_pod_that_is_let_go_concerns_the_job_that_had_it(cluster: Cluster, enqueued: Enqueued, uid: str) -> None:
    pod = make_pod(make_job(), metadata={"labels": {"footplate.dev/job-uid": "uid-job"}})
    cluster.pods.apply(pod, deleted=False)
    enqueued.clear()
    owners = owned_by(make_job("other", uid=uid)) if uid else []
    cluster.pods.apply(
        {**pod, "metadata": {**pod["metadata"], "ownerReferences": owners, "resourceVersion": "2"}}, deleted=False
    )
    assert enqueued == [KEY, *([("ns", "other")] if uid else [])]


def ended_pod(version: int) -> dict[str, Any]:
    return make_pod(make_job(), version=version, status={"phase": "Failed"})


def test_last_words_that_came_after_a_look_wait_for_the_next(cluster: Cluster, enqueued: Enqueued) -> None:
    """The look saw the pod at work; it ended and went while the plan was carried out."""
    cluster.jobs.apply(make_job(), deleted=False)
    at_work = make_pod(make_job(), version=2, status={"phase": "Running"})
    cluster.pods.apply(ended_pod(3), deleted=False)
    cluster.pods.apply(ended_pod(4), deleted=True)
    cluster.departed.note_look(KEY, [at_work])
    [words] = cluster.departed.of(KEY)
    assert words["status"]["phase"] == "Failed"
    cluster.departed.note_look(KEY, [words])
    assert cluster.departed.of(KEY) == []


def test_who_stands_by_keeps_no_words_of_jobs_that_are_gone(cluster: Cluster) -> None:
    """Nobody looks at them there, and they were kept for ever."""
    cluster.jobs.apply(make_job(), deleted=False)
    cluster.pods.apply(ended_pod(2), deleted=False)
    cluster.pods.apply(ended_pod(3), deleted=True)
    assert cluster.departed.of(KEY)
    cluster.jobs.apply(make_job(version=4), deleted=True)
    assert cluster.departed.of(KEY) == []
    cluster.pods.apply(ended_pod(5), deleted=False)
    cluster.pods.apply(ended_pod(6), deleted=True)
    assert cluster.departed.of(KEY) == []


async def test_a_job_that_goes_while_jobs_are_listed_is_gone(cluster: Cluster) -> None:
    """It held its share of the quota, and was counted, until the next list: ten minutes."""
    cluster.jobs.apply(make_job(), deleted=False)

    class Client:
        async def pages(self, resource: Any, **_: Any) -> AsyncIterator[tuple[list[Any], str]]:
            if resource == TRAINING_JOBS:
                cluster.jobs.apply(make_job(version=20), deleted=True)
            yield [make_job()] if resource == TRAINING_JOBS else [], "10"

    await CustomResources(cast(Any, Client()), cluster, clock=FakeClock(), namespaces=("",)).refresh()
    assert cluster.jobs.objects() == {}
