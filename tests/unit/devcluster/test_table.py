"""What `kubectl get` shows."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from footplate.devcluster.resources import Column, Resource, builtin_resources
from footplate.devcluster.store import Version
from footplate.devcluster.table import find_path, make_table, since

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BORN = "2026-05-31T23:59:00Z"

# As k8s.io/apimachinery/pkg/util/duration tests them.
AGES = {
    -5: "0s", 0: "0s", 70: "70s", 119: "119s", 120: "2m", 130: "2m10s", 600: "10m", 10_799: "179m", 10_800: "3h",
    11_160: "3h6m", 28_800: "8h", 172_800: "2d", 176_400: "2d1h", 691_200: "8d", 63_072_000: "2y", 66_000_000: "2y33d",
    252_288_000: "8y",
}  # fmt: skip


@pytest.mark.parametrize(("seconds", "shown"), AGES.items())
def test_ages_are_for_humans(seconds: int, shown: str) -> None:
    assert since((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == shown


def test_an_unknown_age_is_said() -> None:
    assert since(None, NOW) == "<unknown>"


TREE = {"a": {"b.c": 1, "l": [{"t": "X", "s": 1}, {"t": "Y", "s": 2}]}}
PATHS: dict[str, list[Any]] = {
    ".a.l[0].s": [1],
    ".a.l[-1].s": [2],
    ".a.l[*].s": [1, 2],
    '.a.l[?(@.t=="Y")].s': [2],
    ".a.l[?(@.t=='Z')].s": [],
    r".a.b\.c": [1],
    ".a['b.c']": [1],
    ".a.none.more": [],
    "a.l[9]": [],
}


@pytest.mark.parametrize(("path", "found"), PATHS.items())
def test_find_path(path: str, found: list[Any]) -> None:
    assert find_path(TREE, path) == found


def cells(resource: Resource, body: dict[str, Any]) -> list[Any]:
    """The only row of a table."""
    metadata = {"name": "n", "creationTimestamp": BORN, **body.get("metadata", {})}
    table = make_table(resource, [Version({**body, "metadata": metadata}, 1)], NOW, include="None")
    assert len(table["columnDefinitions"]) == len(table["rows"][0]["cells"])
    assert table["rows"][0]["object"] is None
    return list(table["rows"][0]["cells"])


def test_custom_columns() -> None:
    columns = (
        Column("P", "string", ".status.p"), Column("N", "integer", ".status.n"),
        Column("Age", "date", ".metadata.creationTimestamp"),
        Column("All", "string", ".status.l[*]"), Column("Last", "integer", ".status.l[-1:]"),
    )  # fmt: skip
    resource = Resource("g", "v1", "things", "Thing", columns=columns, custom_schema={})
    assert cells(resource, {"status": {"p": True, "n": 3, "l": [1, 2]}}) == ["n", "true", 3, "60s", "1 2", 2]
    assert cells(resource, {}) == ["n", None, None, "60s", None, None]


POD = next(resource for resource in builtin_resources() if resource.kind == "Pod")
RUNNING = {"ready": True, "restartCount": 2, "state": {"running": {}}}
STATES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "pending": ({"status": {"phase": "Pending"}}, ["0/1", "Pending", "0"]),
    "running": ({"status": {"phase": "Running", "containerStatuses": [RUNNING]}}, ["1/1", "Running", "2"]),
    "waiting": (
        {"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]}},
        ["0/1", "ErrImagePull", "0"],
    ),
    "exit code": (
        {"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}},
        ["0/1", "ExitCode:3", "0"],
    ),
    "signal": (
        {"status": {"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"signal": 9}}}]}},
        ["0/1", "Signal:9", "0"],
    ),
    "completed": (
        {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}]}},
        ["0/1", "Completed", "0"],
    ),
    "evicted": ({"status": {"phase": "Failed", "reason": "Evicted"}}, ["0/1", "Evicted", "0"]),
    "going": (
        {"metadata": {"deletionTimestamp": BORN}, "status": {"phase": "Running"}},
        ["0/1", "Terminating", "0"],
    ),
}


@pytest.mark.parametrize(("pod", "shown"), STATES.values(), ids=STATES)
def test_pods(pod: dict[str, Any], shown: list[Any]) -> None:
    assert cells(POD, {"spec": {"containers": [{}]}, **pod})[1:4] == shown


def test_gated_pods() -> None:
    assert cells(POD, {"spec": {"containers": [{}], "schedulingGates": [{"name": "g"}]}})[2] == "SchedulingGated"


BODIES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "Node": (
        {"spec": {"unschedulable": True}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
        ["n", "Ready,SchedulingDisabled", "<none>", "60s", ""],
    ),
    "Service": (
        {"spec": {"type": "ClusterIP", "clusterIP": "None", "ports": [{"port": 80}], "selector": {"a": "b"}}},
        ["n", "ClusterIP", "None", "<none>", "80/TCP", "60s", "a=b"],
    ),
    "Namespace": ({"status": {"phase": "Active"}}, ["n", "Active", "60s"]),
    "ConfigMap": ({"data": {"a": "1"}}, ["n", 1, "60s"]),
    "Secret": ({"type": "Opaque", "data": {}}, ["n", "Opaque", 0, "60s"]),
    "Lease": ({"spec": {"holderIdentity": "me"}}, ["n", "me", "60s"]),
    "Event": (
        {
            "involvedObject": {"kind": "Pod", "name": "p"}, "type": "Normal", "reason": "R", "message": "m",
            "eventTime": BORN, "reportingComponent": "c", "reportingInstance": "i",
        },
        ["60s", "Normal", "R", "pod/p", "", "c, i", "m", "60s", 1, "n"],
    ),
    "RoleBinding": ({"roleRef": {"kind": "Role", "name": "r"}}, ["n", "Role/r", "60s"]),
    "Role": ({}, ["n", BORN]),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "case"), BODIES.items(), ids=BODIES)
def test_built_in_kinds(kind: str, case: tuple[dict[str, Any], list[Any]]) -> None:
    body, shown = case
    resource = next(each for each in builtin_resources() if each.kind == kind)
    assert cells(resource, body)[: len(shown)] == shown
