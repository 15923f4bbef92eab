"""What the chart ships for Argo CD and Flux, and what kstatus makes of our conditions, state by state."""

from typing import Any

import pytest
import yaml

from documents import read_table
from footplate.api.status import Phase
from health.judges import NOT_IN_ARGO, argo_health, flux_expressions, flux_health, kstatus
from health.judges import _lua as lua_state
from health.rules import EXPECTED, state_of, unhealthy
from unit.policy.build import JSON, job
from unit.policy.test_conditions import TRUE


def seen(*held: str, observed: int = 1, **status: Any) -> JSON:
    conditions = [{"type": each, "status": "True", "reason": "Because", "message": "of it"} for each in held]
    return job(status={"observedGeneration": observed, "conditions": conditions, **status})


STATES = {
    "working": [Phase.PENDING, Phase.QUEUED, Phase.STARTING, Phase.RESTARTING, Phase.SUSPENDING],
    "running": [Phase.RUNNING],
    "suspended": [Phase.SUSPENDED],
    "failed": [Phase.FAILED],
    "complete": [Phase.SUCCEEDED],
}
JOBS = {
    **{
        f"{state} {phase}": (state, seen(*sorted(TRUE[phase]), phase=phase))
        for state in STATES
        for phase in STATES[state]
    },
    "stalled": ("stalled", seen("Stalled", phase="Pending")),
    "never seen, by the CRD's default": ("unseen", job(status={"observedGeneration": -1})),
    "changed since": ("unseen", {**seen("Complete", "Finished", phase="Succeeded"), "metadata": {"generation": 2}}),
}


@pytest.mark.parametrize(("state", "of"), JOBS.values(), ids=JOBS)
def test_each_state(state: str, of: JSON) -> None:
    assert state_of(of) == state
    assert [*unhealthy(of)] == []
    assert (kstatus(of), argo_health(of)[0], flux_health(of)) == EXPECTED[state]


def test_a_judge_that_is_wrong_is_found_out() -> None:
    ready = seen("Running", phase="Running")
    ready["status"]["conditions"].append({"type": "Ready", "status": "False"})
    assert kstatus(ready) == "InProgress"
    assert [*unhealthy(ready)], "it would be waited for, for ever"
    assert [*unhealthy(job())], "without an observedGeneration kstatus takes it for settled: the CRD gives it one"
    assert [*unhealthy(seen("Stalled", phase="Running"))], "a gang that runs isn't given up"
    assert [*unhealthy(seen("Reconciling", "Complete", phase="Succeeded"))], "nothing more comes"


def test_what_is_said_to_a_user() -> None:
    said = argo_health(seen("Failed", "Stalled", "Finished", phase="Failed"))
    assert said == ("Degraded", "Because: of it")
    waits = seen("Queued", "Reconciling", phase="Queued", reason="WaitingForNodes", message="3 of 8 nodes scheduled")
    assert argo_health(waits) == ("Progressing", "WaitingForNodes: 3 of 8 nodes scheduled")


def test_a_job_that_goes_is_terminating() -> None:
    assert kstatus(job(status={"observedGeneration": 1}, deletionTimestamp="2026-01-01T00:00:00Z")) == "Terminating"


@pytest.mark.parametrize("kind", ["TrainingRuntime", "ClusterTrainingRuntime", "TrainingPolicy"])
def test_what_has_no_status_is_current(kind: str) -> None:
    """Argo CD gives what has no health of its own none, which counts as Healthy."""
    assert kstatus({"kind": kind, "metadata": {"name": "torch", "generation": 7}, "spec": {}}) == "Current"


def test_the_lua_needs_nothing_that_argo_cd_hasnt() -> None:
    runtime, _ = lua_state()
    for name in NOT_IN_ARGO:
        assert runtime.eval(name) is None, name


def test_the_expressions_are_what_flux_takes() -> None:
    assert flux_expressions().keys() == {"apiVersion", "kind", "inProgress", "failed", "current"}


def test_the_documented_table_is_the_tests() -> None:
    table = {row[0]: tuple(row[2:5]) for row in read_table("gitops.md", "health")}
    assert table == EXPECTED


def test_no_crd_of_ours_but_the_jobs_has_a_status() -> None:
    from health.judges import HEALTH

    for path in sorted((HEALTH.parent / "crds").glob("*.yaml")):
        [version] = yaml.safe_load(path.read_text())["spec"]["versions"]
        assert ("status" in version.get("subresources", {})) is path.name.endswith("_trainingjobs.yaml"), path.name
