"""Whatever a tenant writes, `reconcile` answers; and its status can be stored."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.api.status import Phase, TrainingJobStatus
from footplate.contract import Label
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, UID, at, config_map, job, merged, node, pod, runtime, status

JSON = dict[str, Any]
bounded = settings(max_examples=100, derandomize=True, deadline=None)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from([at(), "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-01-02T03:04:05", "-1", "1e9"])
)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner)
)


def paths(raw: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Where in a raw object something can be put in another's place."""
    found = [prefix] if prefix else []
    for key, value in raw.items() if isinstance(raw, dict) else ():
        found += paths(value, (*prefix, key))
    return found


def put(raw: JSON, path: tuple[str, ...], value: Any) -> JSON:
    """A copy with another value at a path."""
    head, *rest = path
    return {**raw, head: put(raw[head], tuple(rest), value) if rest else value}


def spoiled(raw: JSON) -> st.SearchStrategy[JSON]:
    """The object with one to three of its fields replaced by anything."""
    fields = st.lists(st.tuples(st.sampled_from(paths(raw)), anything), min_size=1, max_size=3)

    def spoil(changes: list[tuple[tuple[str, ...], Any]]) -> JSON:
        result = raw
        for path, value in sorted(changes, key=lambda change: -len(change[0])):
            result = put(result, path, value)
        return result

    return fields.map(spoil)


FULL_STATUS = status(
    job(),
    nodes={"desired": 2},
    restartTime=at(5),
    restartNodes=2,
    scoutTime=at(5),
    activeSeconds=5,
    usage={"nodeSeconds": 9, "endedNodeSeconds": 5, "acceleratorSeconds": {"amd.com/gpu": 9}, "productiveSeconds": 2},
    stragglers=[{"rank": 1, "nodeRank": 1, "node": "node-1", "factor": 2.0}],
    notes=["a"],
    progress={"step": 5},
    checkpoint={"uri": "s3://b/", "step": 5},
    failure={"class": "User", "message": "m"},
    transitions=[{"phase": "Running", "time": at()}],
)
SPEC = {
    **job()["spec"],
    "runtimeRef": {"kind": "ClusterTrainingRuntime", "name": "torch"},
    "runPolicy": {"suspend": False, "restartNonce": "", "activeDeadlineSeconds": 900, "ttlSecondsAfterFinished": 5},
    "elastic": {"minNodes": 1, "maxNodes": 4},
    "podTemplate": {"affinity": {"nodeAffinity": {}}, "labels": {"a": "b"}},
}
RUNTIME = runtime({"nodes": 1, "trainer": {"env": [{"name": "A", "value": "1"}]}, "policy": {"allowed": ["nodes"]}})


def check(of: JSON, *pods: JSON, **observed: Any) -> None:
    plan = reconcile(Observed(of, pods, **observed), now=NOW)
    json.dumps([plan.create, plan.status])
    if plan.status is not None:
        TrainingJobStatus.model_validate(plan.status, extra="ignore")
    for target in plan.delete:
        assert target.namespace == "team"
    for manifest in plan.create:
        assert manifest["metadata"]["ownerReferences"][0]["uid"] == UID


@bounded
@given(raw=spoiled(FULL_STATUS) | anything, phase=st.sampled_from(list(Phase)), found=st.booleans())
def test_any_status(raw: Any, phase: Phase, found: bool) -> None:
    raw = {**raw, "phase": phase} if isinstance(raw, dict) and "phase" in raw else raw
    check({**job(), "status": raw}, pod(0), pod(1), run_config=config_map(job()) if found else None)


@bounded
@given(raw=spoiled(SPEC) | anything, phase=st.none() | st.sampled_from(list(Phase)), found=st.booleans())
def test_any_spec(raw: Any, phase: Phase | None, found: bool) -> None:
    of = {**job(), "spec": raw}
    if phase is not None:
        of["status"] = status(job(), phase)
    check(of, pod(0), pod(1), run_config=config_map(job()) if found else None, runtime=RUNTIME)


@bounded
@given(raw=spoiled(RUNTIME))
def test_any_runtime(raw: JSON) -> None:
    check({**job(), "spec": SPEC}, runtime=raw)
    check({**job(SPEC), "status": status(job())}, pod(0), pod(1), run_config=config_map(job()), runtime=raw)


LOUD_POD = merged(
    pod(
        1,
        phase="Failed",
        deleted=-5,
        conditions=[{"type": "DisruptionTarget", "status": "True", "reason": "r", "lastTransitionTime": at()}],
        reason="Evicted",
        message="m",
    ),
    {"spec": {"schedulingGates": []}},
)
container_states = st.fixed_dictionaries(
    {"name": st.just("trainer"), "state": st.fixed_dictionaries({"terminated": st.dictionaries(
        st.sampled_from(["exitCode", "reason", "message", "finishedAt"]), anything)})}
)  # fmt: skip


@bounded
@given(raw=spoiled(LOUD_POD), containers=anything | st.lists(container_states), phase=st.sampled_from(list(Phase)))
def test_any_pod(raw: JSON, containers: Any, phase: Phase) -> None:
    if isinstance(raw["status"], dict):
        raw = put(raw, ("status",), {**raw["status"], "containerStatuses": containers})
    check(
        {**job(), "status": status(job(), phase)},
        pod(0),
        raw,
        run_config=config_map(job()),
        nodes={"node-0": node(), "node-1": node("node-1", ready="False")},
    )


verdicts = st.fixed_dictionaries(
    {"outcome": st.sampled_from(["succeeded", "failed"]), "exitCode": st.integers()},
    optional={
        "step": st.integers(),
        "productiveNodeSeconds": st.none() | st.floats(),
        "notes": st.lists(st.text(max_size=5), max_size=20),
        "checkpoint": st.fixed_dictionaries({"uri": st.text(max_size=30), "step": st.integers()}),
        "progress": st.dictionaries(st.sampled_from(["step", "percent", "metrics", "updateTime"]), anything),
        "artifact": st.fixed_dictionaries(dict.fromkeys(("uri", "manifest", "sha256", "sizeBytes"), anything)),
        "error": st.dictionaries(st.sampled_from(["rank", "type", "message", "traceback", "time"]), anything),
    },
)


@bounded
@given(said=verdicts.map(json.dumps) | st.text(), code=st.integers(-5, 300))
def test_any_last_words(said: str, code: int) -> None:
    state = {"terminated": {"exitCode": code, "message": said, "finishedAt": at()}}
    ended = pod(0, phase="Failed" if code else "Succeeded", state=state)
    check({**job(), "status": status(job())}, ended, pod(1, phase="Succeeded"), run_config=config_map(job()))


@bounded
@given(labels=st.dictionaries(st.sampled_from(list(Label)), anything), owners=anything)
def test_any_labels_and_owners(labels: JSON, owners: Any) -> None:
    forged = put(put(pod(1), ("metadata", "labels"), labels), ("metadata", "ownerReferences"), owners)
    stray = put(pod(1), ("metadata", "labels"), labels)
    check({**job(), "status": status(job())}, pod(0), forged, stray, run_config=config_map(job()))


@bounded
@given(raw=spoiled(node(taints=[{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}])))
def test_any_node(raw: JSON) -> None:
    check({**job(), "status": status(job())}, pod(0), pod(1), run_config=config_map(job()), nodes={"node-0": raw})
