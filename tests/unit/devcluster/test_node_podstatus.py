"""A pod's status from the states of its containers."""

from typing import Any

import pytest

from footplate.devcluster.podstatus import (
    ContainerStatus,
    State,
    pod_phase,
    pod_status,
    running,
    terminated,
    waiting,
)

WAITING = waiting("ContainerCreating")
RUNNING = running()
DONE = terminated(RUNNING, 0)
FAILED = terminated(RUNNING, 1)


def statuses(*states: State) -> list[ContainerStatus]:
    return [ContainerStatus(f"c{index}", "image", state) for index, state in enumerate(states)]


@pytest.mark.parametrize(
    ("main", "init", "phase"),
    [
        pytest.param([WAITING], [], "Pending", id="waiting"),
        pytest.param([WAITING], [RUNNING], "Pending", id="initialising"),
        pytest.param([WAITING], [FAILED], "Failed", id="init-failed"),
        pytest.param([RUNNING], [DONE], "Running", id="running"),
        pytest.param([RUNNING, WAITING], [], "Pending", id="one-runs-one-waits"),
        pytest.param([RUNNING, FAILED], [], "Running", id="one-failed-one-runs"),
        pytest.param([DONE, DONE], [], "Succeeded", id="all-done"),
        pytest.param([DONE, FAILED], [], "Failed", id="one-failed"),
    ],
)
def test_phase(main: list[State], init: list[State], phase: str) -> None:
    assert pod_phase(statuses(*main), statuses(*init)) == phase


@pytest.mark.parametrize(
    ("code", "reported", "reason"), [(0, 0, "Completed"), (3, 3, "Error"), (-9, 137, "Error"), (-15, 143, "Error")]
)
def test_exit_codes(code: int, reported: int, reason: str) -> None:
    ended = terminated(RUNNING, code)["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (reported, reason)
    assert ended["startedAt"] == RUNNING["running"]["startedAt"]


def conditions(status: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in status["conditions"]}


def test_conditions_keep_the_time_of_their_last_change() -> None:
    past = "2020-01-01T00:00:00Z"
    first = pod_status(statuses(WAITING), [], address="127.1.1.1", before={"startTime": past})
    assert conditions(first) == {
        "PodScheduled": "True",
        "Initialized": "True",
        "ContainersReady": "False",
        "Ready": "False",
    }
    for each in first["conditions"]:
        each["lastTransitionTime"] = past
    second = pod_status(statuses(RUNNING), [], address="127.1.1.1", before=first)
    changed = {each["type"] for each in second["conditions"] if each["lastTransitionTime"] != past}
    assert changed == {"ContainersReady", "Ready"}
    assert second["startTime"] == past
    assert second["podIPs"] == [{"ip": "127.1.1.1"}]
