"""What is kept of an object is bounded, whatever a tenant has put into it."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.machinery.cluster import JOB_BYTES, POD_BYTES, RUNTIME_BYTES, Cluster
from footplate.machinery.slim import (
    MAX_BYTES,
    slim_config_map,
    slim_job,
    slim_node,
    slim_pod,
    slim_runtime,
    stub_job,
    stub_pod,
    weigh,
)
from footplate.machinery.store import Store
from unit.machinery.support import make, make_job, make_pod, owned_by

KIB, MIB = 1024, 2**20
TEXT = "ü" * 100_000
FLOOD = [{f"key-{number}": "x" * 60} for number in range(5_000)]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20,
)


def size(obj: Any) -> int:
    return len(orjson.dumps(obj))


def giant_pod() -> dict[str, Any]:
    state = {"terminated": {"exitCode": 1, "message": TEXT, "reason": TEXT, "containerID": TEXT}}
    containers = [
        {"name": f"c{number}", "state": state, "lastState": state, "image": TEXT} for number in range(100)
    ] + [{"name": "trainer", "state": state}]
    condition = {"type": "PodScheduled", "status": "False", "message": TEXT, "reason": TEXT}
    job = make_job()
    foreign = [{"apiVersion": "v1", "kind": "Node", "name": TEXT, "uid": "x"}] * 100
    metadata = {
        "labels": {"footplate.dev/rank": "0", **{f"l{number}": "x" * 63 for number in range(5_000)}},
        "annotations": {"x": TEXT},
        "finalizers": [TEXT],
        "managedFields": FLOOD,
        "ownerReferences": [*foreign, *owned_by(job)],
    }
    return make_pod(
        job,
        metadata=metadata,
        spec={"nodeName": "n1", "schedulingGates": [{"name": TEXT}] * 1000, "containers": FLOOD},
        status={
            "phase": "Failed",
            "message": TEXT,
            "reason": TEXT,
            "conditions": [condition] * 1000,
            "containerStatuses": containers,
            "initContainerStatuses": containers,
        },
    )


def giant_node() -> dict[str, Any]:
    return make(
        "n1",
        metadata={"labels": {f"l{n}": "x" * 63 for n in range(5_000)}},
        spec={"taints": [{"key": TEXT, "effect": "NoExecute"}] * 1000, "podCIDRs": FLOOD},
        status={"conditions": [{"type": "Ready", "message": TEXT}] * 1000, "images": FLOOD},
    )


@pytest.mark.parametrize(
    ("slim", "giant", "most"),
    [
        pytest.param(slim_pod, giant_pod(), 96 * KIB, id="pod"),
        pytest.param(slim_node, giant_node(), 160 * KIB, id="node"),
        pytest.param(slim_job, make_job(spec={"x": FLOOD}), 1 * KIB, id="job"),
        pytest.param(
            slim_job, make_job(metadata={"labels": {str(n): "x" * 60 for n in range(9_000)}}), KIB, id="labels"
        ),
        pytest.param(slim_job, make_job(spec={"runPolicy": FLOOD}), 1 * KIB, id="a job's living fields"),
        pytest.param(slim_job, make_job(status={"phase": "Running", "x": FLOOD}), 1 * KIB, id="status"),
        pytest.param(
            slim_job, make_job(metadata={"annotations": {"x": TEXT}, "finalizers": [TEXT]}), KIB, id="metadata"
        ),
        pytest.param(slim_runtime, make("r", spec={"x": FLOOD}), KIB, id="runtime"),
        pytest.param(slim_runtime, make("r", spec={"policy": {"allowed": FLOOD}}), KIB, id="a runtime's policy"),
        pytest.param(slim_config_map, make("c", data={"job.json": "{}", "x": TEXT}), KIB, id="ConfigMap"),
        pytest.param(slim_config_map, make("c", data={"job.json": TEXT * 99}), 2 * 4 * MAX_BYTES + KIB, id="job.json"),
    ],
)
def test_giants_are_cut(slim: Callable[[Any], Any], giant: Any, most: int) -> None:
    kept = slim(giant)
    assert size(kept) <= most
    assert (kept["metadata"]["name"], kept["metadata"]["uid"]) == (giant["metadata"]["name"], giant["metadata"]["uid"])


def test_the_trainer_s_own_end_is_kept_whatever_is_injected() -> None:
    kept: Any = slim_pod(giant_pod())
    first, second = kept["status"]["containerStatuses"][:2]
    assert (first["name"], first["state"]["terminated"]["exitCode"]) == ("trainer", 1)
    assert len(first["state"]["terminated"]["message"]) == 4096
    assert len(second["state"]["terminated"]["message"]) == 256


def test_a_job_that_is_too_big_keeps_what_may_change_while_it_lives() -> None:
    spec = {"runPolicy": {"suspend": True, "restartNonce": "x"}, "nodes": 4, "trainer": FLOOD}
    kept: Any = slim_job(make_job(spec=spec, status={"phase": "Running", "run": 1}))
    assert kept["spec"] == {"runPolicy": spec["runPolicy"], "nodes": 4}
    assert kept["oversize"]["bytes"] > kept["oversize"]["most"] == MAX_BYTES
    assert kept["status"] == {"phase": "Running", "run": 1}


def test_a_status_that_is_too_big_is_not_read_as_none() -> None:
    assert slim_job(make_job(status={"phase": "Running", "x": FLOOD}))["status"] == {"phase": "oversize"}  # type: ignore[index]


def test_a_runtime_that_is_too_big_allows_no_more_than_it_did() -> None:
    policy = {"allowed": ["nodes"]}
    assert slim_runtime(make("r", spec={"policy": policy, "x": FLOOD}))["spec"] == {"policy": policy}
    assert slim_runtime(make("r", spec={"policy": FLOOD}))["spec"] == {"policy": {"allowed": []}}


@pytest.mark.parametrize("owners", [[], [{"kind": "ReplicaSet", "controller": True}], [{"kind": "TrainingJob"}], None])
def test_a_pod_that_no_job_controls_is_not_kept(owners: Any) -> None:
    assert slim_pod(make("p", metadata={"ownerReferences": owners})) is None


@given(JSON, JSON, JSON)
@settings(max_examples=200)
def test_no_shape_of_an_object_is_a_surprise(spec: Any, status: Any, labels: Any) -> None:
    raw = {"spec": spec, "status": status}
    labelled = {"labels": labels}
    pod = make("p", metadata={**labelled, "ownerReferences": owned_by(make_job())}, **raw)
    for slim in (slim_pod, slim_node, slim_job, slim_runtime, slim_config_map, stub_job):
        kept = slim({**pod, "metadata": {**pod["metadata"], **labelled}})  # type: ignore[operator]
        assert kept is None or weigh(kept) > 0
    kept_pod: Any = slim_pod(pod)
    assert stub_pod(kept_pod)["metadata"] == kept_pod["metadata"]


def jobs(namespace: str) -> Iterator[Any]:
    """As large as a job may be, and of the parts that take the most memory."""
    spec = orjson.dumps({"trainer": {"hyperparameters": {"x": [{}] * 65_000}}})
    for number in range(60):
        yield make_job(f"j{number}", uid=f"u{number}", metadata={"namespace": namespace}, spec=orjson.loads(spec))


def pods(namespace: str) -> Iterator[Any]:
    raw = orjson.dumps(giant_pod())
    for number in range(60):
        pod = orjson.loads(raw)
        yield {**pod, "metadata": {**pod["metadata"], "name": f"p{number}", "namespace": namespace}}


def runtimes(namespace: str) -> Iterator[Any]:
    spec = orjson.dumps({"x": [{}] * 65_000})
    for number in range(60):
        yield make(f"r{number}", namespace=namespace, uid=f"u{number}", spec=orjson.loads(spec))


@pytest.mark.parametrize(
    ("store", "flood", "most"),
    [
        pytest.param("jobs", jobs, JOB_BYTES, id="jobs"),
        pytest.param("pods", pods, POD_BYTES, id="pods"),
        pytest.param("runtimes", runtimes, RUNTIME_BYTES, id="runtimes"),
    ],
)
def test_a_flood_of_giants_takes_no_more_than_a_namespace_s_share(
    store: str, flood: Callable[[str], Iterator[Any]], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth of the real bounds, so that the flood needn't be one of gigabytes; memory as Python counts it."""
    names = {"jobs": "JOB_BYTES", "pods": "POD_BYTES", "runtimes": "RUNTIME_BYTES"}
    monkeypatch.setattr(f"footplate.machinery.cluster.{names[store]}", most // 16)
    cluster = Cluster(lambda _: None)
    kept: Store = getattr(cluster, store)
    gc.collect()
    tracemalloc.start()
    try:
        for giant in flood("greedy"):
            kept.apply(giant, deleted=False)
            del giant
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept) == 60
    assert taken <= most / 16 / 3 + 2 * MIB
