"""What is read of a job: a status that isn't understood is left alone, whatever it may mean."""

from typing import Any

import pytest

from footplate.policy.job import UnknownStatus, read_status
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from unit.policy.build import NOW, config_map, job, look, pod, status

JSON = dict[str, Any]

UNKNOWN = [
    pytest.param({"phase": "Checkpointing"}, "status.phase = 'Checkpointing'", id="a phase that a newer version has"),
    pytest.param({"failure": {"class": "Cosmic", "message": "m"}}, "status.failure.class", id="another class"),
    pytest.param({"completionTime": "99999-01-01T00:00:00Z"}, "status.completionTime", id="a time out of range"),
    pytest.param({"attempts": [{"attempt": -1}]}, "status.attempts.0.attempt", id="a number out of range"),
    pytest.param({"run": "two"}, "status.run", id="another type"),
    pytest.param({"conditions": [{"type": "Complete"}]}, "status.conditions.0", id="half a condition"),
]
PHASES = ["Succeeded", "Failed", "Running", "Suspended", "Restarting"]


@pytest.mark.parametrize(("more", "where"), UNKNOWN)
@pytest.mark.parametrize("phase", PHASES)
def test_hands_off_a_status_that_is_not_understood(phase: str, more: JSON, where: str) -> None:
    of = job({"runPolicy": {"restartNonce": "again", "ttlSecondsAfterFinished": 0}})
    of = {**of, "status": {**status(of, phase), **more}}
    plan = reconcile(Observed(of, [pod(0), pod(1, phase="Failed")], run_config=config_map(of)), now=NOW)
    assert (plan.create, plan.delete, plan.status, plan.left_alone) == ((), (), None, True)
    (event,) = plan.events
    assert (event.type, event.reason) == ("Warning", "StatusNotUnderstood")
    assert where in event.message
    assert "run the newer operator again" in event.message


@pytest.mark.parametrize("raw", [pytest.param({}, id="empty"), pytest.param(None, id="null")])
def test_only_an_absent_status_counts_as_none(raw: JSON | None) -> None:
    assert read_status({**job(), "status": raw}).phase is None


@pytest.mark.parametrize("raw", ["text", [1], 7])
def test_a_status_of_another_shape_is_not_none(raw: Any) -> None:
    with pytest.raises(UnknownStatus, match="status"):
        read_status({**job(), "status": raw})


def test_what_only_a_newer_operator_writes_stays_in_the_status() -> None:
    plan = look(job(), pod(0), pod(1, phase="Failed"))
    assert plan.status is not None
    of = {**job(), "status": {**status(job()), "estimate": {"seconds": 7}}}
    plan = reconcile(Observed(of, [pod(0), pod(1, phase="Failed")], run_config=config_map(job())), now=NOW)
    assert plan.status is not None
    assert plan.status["estimate"] == {"seconds": 7}
