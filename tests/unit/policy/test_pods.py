"""Views of raw objects, and who belongs to the gang."""

from datetime import timedelta
from typing import Any

import pytest

from footplate.contract import Label
from footplate.objects import block, blocks, number, text, time
from footplate.policy.pod import Pod
from footplate.policy.pods import Gang, last_ready, node_is_lost
from unit.policy.build import NOW, UID, at, job, merged, node, pod, terminated, waiting

JSON = dict[str, Any]


def test_a_running_pod() -> None:
    view = Pod(pod(3, attempt=2))
    assert (view.name, view.rank, view.label(Label.ATTEMPT), view.node) == ("fashion-1-2-3", 3, 2, "node-0")
    assert view.running
    assert not view.terminal
    assert not view.terminating
    assert view.started == view.bound == NOW - timedelta(seconds=60)
    assert (view.target.kind, view.target.namespace, view.target.uid) == ("Pod", "team", "uid-1-2-3")


def test_a_deleted_pod() -> None:
    view = Pod(pod(deleted=-20, grace=120))
    assert view.deleted == NOW - timedelta(seconds=20)
    assert view.seconds_to_stop(NOW) == 105
    assert view.seconds_to_stop(NOW + timedelta(seconds=200)) == 0
    assert Pod(pod(phase="Failed", deleted=-20)).seconds_to_stop(NOW) == 0


def test_how_a_container_ended() -> None:
    view = Pod(pod(phase="Failed", state=terminated(70, message='{"outcome":"failed","exitCode":70,"step":5}')))
    assert (view.exit_code, view.finished) == (70, NOW)
    assert view.verdict is not None
    assert view.verdict.step == 5
    assert Pod(pod(state=waiting("ErrImagePull"))).waiting["reason"] == "ErrImagePull"


NONSENSE: list[Any] = [None, 5, "x", [], [None, 5], {"a": 1}, {"state": 3}]


@pytest.mark.parametrize("value", NONSENSE, ids=repr)
@pytest.mark.parametrize("path", ["metadata", "spec", "status"])
def test_pods_of_any_shape_can_be_read(path: str, value: Any) -> None:
    view = Pod({path: value})
    assert (view.name, view.rank, view.phase, view.node, view.verdict) == ("", -1, "Pending", None, None)
    assert (view.started, view.finished, view.bound, view.deleted, view.exit_code) == (None,) * 5
    assert [view.running, view.gated, view.terminating] == [False] * 3


FORGERIES = [
    pytest.param(pod(1), True, id="its own"),
    pytest.param(pod(1, owner="another"), False, id="another job's"),
    pytest.param(merged(pod(1), {"metadata": {"namespace": "evil"}}), False, id="of another namespace"),
    pytest.param(merged(pod(1), {"metadata": {"ownerReferences": [{"uid": UID}]}}), False, id="owned, not controlled"),
]


@pytest.mark.parametrize(("raw", "counts"), FORGERIES)
def test_only_controlled_pods_of_the_namespace_count(raw: JSON, counts: bool) -> None:
    gang = Gang.of([raw], job(), run=1, attempt=0, nodes=2, now=NOW)
    assert bool(gang.everyone) is counts


STRAYS = [
    pytest.param(pod(1, attempt=1), id="of an older attempt"),
    pytest.param(pod(1, run=0), id="of an older run"),
    pytest.param(pod(2), id="a rank beyond the gang"),
    pytest.param(pod(-1), id="a negative rank"),
    pytest.param(pod(1, name="fashion-1-0-01"), id="another name"),
]


@pytest.mark.parametrize("raw", STRAYS)
def test_strays_are_older(raw: JSON) -> None:
    gang = Gang.of([raw, pod(0)], job(), run=1, attempt=0, nodes=2, now=NOW)
    assert list(gang.current) == [0]
    assert [view.raw for view in gang.older] == [raw]


def test_gang_is_in_order_of_rank() -> None:
    gang = Gang.of([pod(10), pod(2), pod(0)], job(), run=1, attempt=0, nodes=11, now=NOW)
    assert [view.rank for view in gang.pods] == [0, 2, 10]


@pytest.mark.parametrize(
    ("raw", "lost"),
    [
        (None, True),
        (node(), False),
        (node(ready="False"), True),
        (node(ready="Unknown"), True),
        ({}, False),
        ({"status": {"conditions": "x"}, "spec": {"taints": [None]}}, False),
    ],
)
def test_node_is_lost(raw: JSON | None, lost: bool) -> None:
    assert node_is_lost(raw) is lost


def test_when_a_node_was_last_ready() -> None:
    assert last_ready(node(ready="False", since=-5)) == NOW - timedelta(seconds=5)
    assert last_ready(None) is None


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (at(), True),
        ("2026-01-02T03:04:05.123456Z", True),
        ("2026-01-02T03:04:05", False),
        ("9999-12-31T23:59:59Z", False),
        ("0001-01-01T00:00:00Z", False),
        ("yesterday", False),
        (5, False),
        (None, False),
    ],
)
def test_time(value: Any, valid: bool) -> None:
    assert (time({"t": value}, "t") is not None) is valid


def test_accessors_take_any_shape() -> None:
    assert block({"a": {"b": {"c": 1}}}, "a", "b") == {"c": 1}
    assert block({"a": [1]}, "a", "b") == block(None) == {}
    assert blocks({"a": [{"b": 1}, 2, None]}, "a") == [{"b": 1}]
    assert blocks({"a": "x"}, "a") == []
    assert text({"a": 5}, "a") == ""
    assert [number({"a": value}, "a") for value in (5, True, "5", 2**40, 1.0)] == [5, None, None, None, None]
