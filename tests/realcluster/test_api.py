"""Our kinds on a real kube-apiserver: what a user of kubectl sees, and what holds without CEL."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from api_cases import Case, Json, sound
from footplate.api.reports import ArtifactStatus, CurveStatus, ProgressStatus
from footplate.api.status import NodeCounts, Phase, Restarts, TrainingJobStatus, Transition
from realcluster.controlplane import Cluster
from realcluster.planes import namespace_of_its_own

pytestmark = pytest.mark.realcluster

NAMESPACE = "footplate-test-api"
STATUS = TrainingJobStatus(
    observed_generation=1,
    phase=Phase.RUNNING,
    reason="AllPodsRunning",
    nodes=NodeCounts(desired=8, created=8, ready=6),
    restarts=Restarts(user=1, infrastructure=2),
    progress=ProgressStatus(
        step=1200,
        total_steps=9380,
        percent=12.8,
        metrics={"loss": 0.41},
        last_step_time=datetime(2026, 1, 2, 3, tzinfo=UTC),
        history=CurveStatus(steps=[0, 8], metrics={"loss": [0.5, None]}),
        eta="57m",
    ),
    transitions=[Transition(phase=Phase.RUNNING, time=datetime(2026, 1, 2, 2, tzinfo=UTC))],
    artifact=ArtifactStatus(uri="s3://models/a/", manifest="s3://models/a/m.json", sha256="0" * 64, size_bytes=1),
    start_time=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Cluster) -> Iterator[None]:
    """A namespace of this module's own."""
    with namespace_of_its_own(cluster, NAMESPACE):
        yield


def manifest(name: str) -> Json:
    job = Case("", sound(scheduling={"topologyKey": "zone"}), name=name).manifest()
    return job | {"metadata": {"name": name, "namespace": NAMESPACE}}


def get(cluster: Cluster, name: str) -> Json:
    return dict(json.loads(cluster.kubectl("get", "tj", name, "-n", NAMESPACE, "-o", "json").stdout))


def test_columns(cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=manifest("columns"))
    patch = json.dumps({"status": STATUS.to_json()})
    cluster.kubectl("patch", "tj", "columns", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    header, row = cluster.kubectl("get", "tj", "-n", NAMESPACE, "-o", "wide").stdout.splitlines()
    seen = dict(zip(header.split(), row.split(), strict=True))
    ages = {name: seen.pop(name) for name in ("AGE", "SINCE", "LAST-STEP")}
    assert all(age.endswith(("s", "m", "h", "d", "y")) for age in ages.values()), ages
    assert seen == {
        "NAME": "columns",
        "PHASE": "Running",
        "NODES": "6/8",
        "STEP": "1200",
        "PROGRESS": "12.8",
        "ETA": "57m",
        "RESTARTS": "3",
        "REASON": "AllPodsRunning",
        "LOSS": "0.41",
        "ARTIFACT": "s3://models/a/",
    }
    assert "REASON" not in cluster.kubectl("get", "trainingjobs", "-n", NAMESPACE).stdout
    assert "columns" in cluster.kubectl("get", "footplate", "-n", NAMESPACE).stdout


def test_status_is_stored_as_it_was_sent(cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=manifest("status"))
    patch = json.dumps({"status": STATUS.to_json()})
    cluster.kubectl("patch", "tj", "status", "-n", NAMESPACE, "--subresource=status", "--type=merge", "-p", patch)
    job = get(cluster, "status")
    assert job["status"] == STATUS.to_json()
    assert TrainingJobStatus.model_validate(job["status"]) == STATUS
    assert job["metadata"]["generation"] == 1


def test_unseen_job_is_not_taken_for_settled(cluster: Cluster) -> None:
    cluster.kubectl("create", "-f", "-", stdin=manifest("unseen"))
    assert get(cluster, "unseen")["status"] == {"observedGeneration": -1}


def test_defaults_fill_nothing_that_a_runtime_may_say(cluster: Cluster) -> None:
    sent = manifest("defaults")
    sent["spec"] |= {"runtimeRef": {"name": "a"}, "runPolicy": {"suspend": True}, "checkpoint": {"keep": 1}}
    cluster.kubectl("create", "-f", "-", stdin=sent)
    stored = get(cluster, "defaults")["spec"]
    assert stored == sent["spec"] | {"runtimeRef": {"kind": "ClusterTrainingRuntime", "name": "a"}}


@pytest.mark.parametrize("flags", [(), ("--server-side",)])
def test_applying_twice_changes_nothing(cluster: Cluster, flags: tuple[str, ...]) -> None:
    name = f"twice{len(flags)}"
    for _ in range(2):
        cluster.kubectl("apply", *flags, "-f", "-", stdin=manifest(name))
        version = get(cluster, name)["metadata"]["resourceVersion"]
    done = cluster.kubectl("apply", *flags, "-f", "-", stdin=manifest(name))
    assert get(cluster, name)["metadata"]["resourceVersion"] == version, done.stdout


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("trainingjob.spec.checkpoint", "Complete checkpoints kept. Default: 3. Can't change after creation."),
        ("trainingjob.spec.runPolicy.suspend", "Default: false. Can change after creation."),
        ("trainingjob.status.nodes", "Pods that have a node, or are done and gone."),
        ("clustertrainingruntime.spec.policy", "Most nodes of a job. Example: 64"),
    ],
)
def test_explain_is_the_documentation(cluster: Cluster, path: str, words: str) -> None:
    assert words in " ".join(cluster.kubectl("explain", path).stdout.split())
