"""Where a pod goes, and with what words it is refused."""

from typing import Any

import pytest

from footplate.devcluster.scheduling import Load, Unschedulable, place, pod_requests


def node(name: str, **changes: Any) -> dict[str, Any]:
    labels = {"kubernetes.io/hostname": name, **changes.get("labels", {})}
    allocatable = {"cpu": "1", "memory": "1Gi", "pods": "3", **changes.get("allocatable", {})}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": changes.get("spec", {}),
        "status": {"allocatable": allocatable},
    }


def pod(*, requests: dict[str, Any] | None = None, limits: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    resources = {"requests": requests or {}, "limits": limits or {}}
    return {"spec": {"containers": [{"name": "main", "resources": resources}], **spec}}


def affinity(*terms: dict[str, Any]) -> dict[str, Any]:
    required = {"nodeSelectorTerms": list(terms)}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def expression(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def test_where_a_pod_had_rather_not_be_it_goes_only_if_nowhere_else() -> None:
    away = {"weight": 100, "preference": {"matchFields": [
        {"key": "metadata.name", "operator": "NotIn", "values": ["a"]}]}}  # fmt: skip
    shy = pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [away]}})
    load = Load()
    for _ in range(2):
        load.add("b", pod())
    assert place(shy, [node("a"), node("b")], load) == "b"
    load.add("b", pod())
    assert place(shy, [node("a"), node("b")], load) == "a"
    assert place(pod(), [node("a"), node("b", allocatable={"pods": "9"})], load) == "a"


TAINTED = node("a", spec={"taints": [{"key": "gpu", "value": "h100", "effect": "NoSchedule"}]})
LABELLED = node("a", labels={"zone": "z1", "gpus": "8"})


@pytest.mark.parametrize(
    ("asked", "target"),
    [
        pytest.param(pod(requests={"cpu": "500m"}), node("a"), id="fits"),
        pytest.param(pod(tolerations=[{"operator": "Exists"}]), TAINTED, id="tolerates-all"),
        pytest.param(pod(tolerations=[{"key": "gpu", "value": "h100"}]), TAINTED, id="tolerates-equal"),
        pytest.param(
            pod(tolerations=[{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]), TAINTED, id="tolerates-key"
        ),
        pytest.param(
            pod(), node("a", spec={"taints": [{"key": "x", "effect": "PreferNoSchedule"}]}), id="preferred-taint"
        ),
        pytest.param(pod(nodeSelector={"zone": "z1"}), LABELLED, id="selector"),
        pytest.param(pod(affinity=affinity(expression("zone", "In", "z0", "z1"))), LABELLED, id="in"),
        pytest.param(pod(affinity=affinity(expression("zone", "NotIn", "z0"))), LABELLED, id="not-in"),
        pytest.param(pod(affinity=affinity(expression("zone", "Exists"))), LABELLED, id="exists"),
        pytest.param(pod(affinity=affinity(expression("spot", "DoesNotExist"))), LABELLED, id="does-not-exist"),
        pytest.param(pod(affinity=affinity(expression("gpus", "Gt", "4"))), LABELLED, id="greater"),
        pytest.param(
            pod(affinity=affinity(expression("zone", "In", "z0"), expression("gpus", "Exists"))),
            LABELLED,
            id="any-term",
        ),
        pytest.param(
            pod(affinity=affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]})),
            LABELLED,
            id="name",
        ),
    ],
)
def test_a_pod_that_fits(asked: dict[str, Any], target: dict[str, Any]) -> None:
    assert place(asked, [target], Load()) == "a"


@pytest.mark.parametrize(
    ("asked", "target", "reason"),
    [
        pytest.param(pod(requests={"cpu": "1001m"}), node("a"), "Insufficient cpu", id="cpu"),
        pytest.param(pod(limits={"nvidia.com/gpu": 1}), node("a"), "Insufficient nvidia.com/gpu", id="no-gpu"),
        pytest.param(pod(), TAINTED, "node(s) had untolerated taint {gpu: h100}", id="taint"),
        pytest.param(
            pod(tolerations=[{"key": "gpu", "value": "a100"}]),
            TAINTED,
            "node(s) had untolerated taint {gpu: h100}",
            id="other-value",
        ),
        pytest.param(
            pod(),
            node("a", spec={"unschedulable": True}),
            "node(s) had untolerated taint {node.kubernetes.io/unschedulable: }",
            id="cordoned",
        ),
        pytest.param(
            pod(nodeSelector={"zone": "z2"}),
            LABELLED,
            "node(s) didn't match Pod's node affinity/selector",
            id="selector",
        ),
        pytest.param(
            pod(affinity=affinity(expression("kubernetes.io/hostname", "NotIn", "a"))),
            LABELLED,
            "node(s) didn't match Pod's node affinity/selector",
            id="avoided",
        ),
    ],
)
def test_a_pod_that_does_not_fit(asked: dict[str, Any], target: dict[str, Any], reason: str) -> None:
    with pytest.raises(Unschedulable) as refusal:
        place(asked, [target], Load())
    assert str(refusal.value) == f"0/1 nodes are available: 1 {reason}."


def test_pods_spread_and_fill_up() -> None:
    nodes, load = [node("a"), node("b")], Load()
    third = pod(requests={"cpu": "0.3"})
    placed = []
    for _ in range(6):
        placed.append(place(third, nodes, load))
        load.add(placed[-1], third)
    assert sorted(placed) == ["a", "a", "a", "b", "b", "b"]
    with pytest.raises(Unschedulable, match="2 Insufficient cpu, 2 Too many pods"):
        place(third, nodes, load)


def test_tenths_of_a_core_add_up() -> None:
    load = Load()
    tenth = pod(requests={"cpu": "100m"})
    for _ in range(2):
        load.add("a", tenth)
    assert place(tenth, [node("a", allocatable={"cpu": "300m"})], load) == "a"


def test_the_largest_init_container_counts() -> None:
    big = {"name": "init", "resources": {"requests": {"cpu": "2", "memory": "1Mi"}}}
    asked = pod(requests={"cpu": "1", "memory": "2Mi"}, initContainers=[big])
    assert pod_requests(asked) == {"pods": 1, "cpu": 2, "memory": 2 * 2**20}
