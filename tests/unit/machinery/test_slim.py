"""What is kept of an object is bounded, whatever a tenant has put into it."""

import sys
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.machinery.cluster import JOB_BYTES, POD_BYTES, RUNTIME_BYTES, Cluster
from footplate.machinery.patches import merge_patch
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
from footplate.objects import TOO_DEEP
from unit.machinery.support import make, make_job, make_pod, owned_by

KIB = 1024
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
    containers = [{"name": f"c{number}", "state": state, "image": TEXT} for number in range(100)] + [
        {"name": "trainer", "state": state}
    ]
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
        pytest.param(slim_pod, giant_pod(), 128 * KIB, id="pod"),
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
    assert slim_runtime(make("r", spec={"policy": {"allowed": FLOOD}}))["spec"] == {"policy": {"allowed": []}}


@pytest.mark.parametrize("owners", [[], [{"kind": "ReplicaSet", "controller": True}], [{"kind": "TrainingJob"}], None])
def test_a_pod_that_no_job_controls_is_not_kept(owners: Any) -> None:
    assert slim_pod(make("p", metadata={"ownerReferences": owners})) is None


@given(JSON, JSON, JSON)
@settings(max_examples=50)
def test_no_shape_of_an_object_is_a_surprise(spec: Any, status: Any, labels: Any) -> None:
    raw = {"spec": spec, "status": status}
    labelled = {"labels": labels}
    pod = make("p", metadata={**labelled, "ownerReferences": owned_by(make_job())}, **raw)
    for slim in (slim_pod, slim_node, slim_job, slim_runtime, slim_config_map, stub_job):
        kept = slim({**pod, "metadata": {**pod["metadata"], **labelled}})  # type: ignore[operator]
        assert kept is None or weigh(kept) > 0
    kept_pod: Any = slim_pod(pod)
    assert stub_pod(kept_pod)["metadata"] == kept_pod["metadata"]


def deep_size(obj: Any) -> int:
    """Bytes that an object and all in it take."""
    inside = (*obj.keys(), *obj.values()) if isinstance(obj, dict) else obj if isinstance(obj, list) else ()
    return sys.getsizeof(obj) + sum(map(deep_size, inside))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" + b"{}," * 2_000 + b"{}]", id="empty objects"),
        pytest.param(b"[" + b"[]," * 2_000 + b"[]]", id="empty lists"),
        pytest.param(b"[" + b'{"a":1},' * 2_000 + b"{}]", id="small objects"),
        pytest.param(b"[" + b"1.5," * 2_000 + b"1]", id="numbers"),
        pytest.param(b"[" + b'"ab",' * 2_000 + b"1]", id="short texts"),
        pytest.param(b"[" * 200 + b"]" * 200, id="nested"),
        pytest.param(orjson.dumps(TEXT), id="one text"),
    ],
)
def test_the_weight_is_about_what_an_object_takes(text: bytes) -> None:
    obj = {"x": orjson.loads(text)}
    assert deep_size(obj) <= 4 * weigh(obj)


def test_what_is_nested_too_deeply_stops_nobody() -> None:
    deep = orjson.loads(b"[" * 900 + b"]" * 900)
    job: Any = slim_job(make_job(spec={"x": deep, "runPolicy": {"x": deep}}, status={"x": deep}))
    assert (job["oversize"]["bytes"], job["spec"], job["status"]) == (TOO_DEEP, {}, {"phase": "oversize"})
    assert slim_runtime(make("r", spec={"policy": {"x": deep}}))["spec"] == {"policy": {"allowed": []}}
    assert weigh({"x": deep}) > 0


GIANT_SPEC = {"trainer": {"hyperparameters": {"x": [{}] * 60_000}}}
FLOODS = {
    "jobs": lambda name: make_job(name, uid=name, spec=GIANT_SPEC),
    "pods": lambda name: {**GIANT_POD, "metadata": {**GIANT_POD["metadata"], "name": name}},
    "runtimes": lambda name: make(name, spec=GIANT_SPEC),
}
GIANT_POD = giant_pod()


@pytest.mark.parametrize(("store", "most"), [("jobs", JOB_BYTES), ("pods", POD_BYTES), ("runtimes", RUNTIME_BYTES)])
def test_a_flood_takes_no_more_than_a_namespace_s_share(store: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the real bounds, so that the flood needn't be one of gigabytes."""
    names = {"jobs": "JOB_BYTES", "pods": "POD_BYTES", "runtimes": "RUNTIME_BYTES"}
    monkeypatch.setattr(f"footplate.machinery.cluster.{names[store]}", most // 32)
    cluster = Cluster(lambda _: None)
    kept: Store = getattr(cluster, store)
    for number in range(100):
        kept.apply(FLOODS[store](f"j{number}"), deleted=False)
    assert len(kept) == 100
    stubs = 100 * 2 * KIB
    assert sum(map(weigh, kept.objects().values())) <= most / 32 / 3 + stubs


CURVE = {"steps": [0, 8], "metrics": {"loss": [2.5, None]}}


@pytest.mark.parametrize(
    ("phase", "kept"), [("Running", True), ("Suspended", True), ("Succeeded", False), ("Failed", False)]
)
def test_the_curve_of_a_finished_job_takes_no_room(phase: str, kept: bool) -> None:
    """What is kept counts with all its bytes; what isn't known isn't written, so the API server keeps it."""
    status = {"phase": phase, "progress": {"step": 8, "history": CURVE}, "run": 1}
    slim = slim_job(make_job(status=status))
    bare = slim_job(make_job(status={**status, "progress": {"step": 8}}))
    assert (slim["status"] == status) is kept
    assert (weigh(slim) > weigh(bare) + 100) is kept
    assert "history" not in str(merge_patch(slim["status"], {**slim["status"], "run": 2}))


def test_what_a_pod_holds_is_kept_even_where_there_is_no_room_for_it() -> None:
    limits = {"nvidia.com/gpu": "4", "cpu": "8", "example.com/odd": "half"}
    labels = {"footplate.dev/job-uid": "u"}
    pod = make("p", metadata={"labels": labels}, spec={"containers": [{"resources": {"limits": limits}}] * 2})
    kept: Any = slim_pod(pod)
    assert kept["spec"]["resources"] == stub_pod(kept)["spec"]["resources"] == {"limits": {"nvidia.com/gpu": 8}}


def test_a_job_without_room_keeps_the_labels_by_which_somebody_pays() -> None:
    labels = {"cost-center": "7"}
    for spec in ({"trainer": {"args": [TEXT]}, "nodes": 2}, {"nodes": 2}):
        assert stub_job(slim_job(make_job(spec=spec, metadata={"labels": labels})))["metadata"]["labels"] == labels
    many = {f"label-{number}": "x" * 63 for number in range(300)}
    assert "labels" not in stub_job(make_job(metadata={"labels": many}))["metadata"]
