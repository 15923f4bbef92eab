from typing import Any

import pytest

from footplate.policy.ownership import claim, owner_of
from footplate.policy.plan import Event, Plan, Target

CREATE = ({"kind": "Pod"},)
DELETE = (Target("Pod", "ns", "p"),)
EVENTS = (Event("Normal", "Reason", "message", "Act"),)
RUNNING = {"phase": "Running"}
OURS = {"phase": "Running", "operator": "us/op"}
NOT_UNDERSTOOD = Plan(events=EVENTS, left_alone=True)
THEIRS = {"phase": "Running", "operator": "them/op"}


def job(status: Any) -> Any:
    return {"metadata": {"name": "job"}, "status": status}


@pytest.mark.parametrize(
    ("status", "plan", "claimed"),
    [
        pytest.param(None, Plan(CREATE, DELETE), Plan(status={"operator": "us/op"}), id="nobody's: first the claim"),
        pytest.param(None, Plan(status=RUNNING, events=EVENTS), Plan(status=OURS, events=EVENTS), id="with a word"),
        pytest.param(RUNNING, Plan(CREATE), Plan(status=OURS), id="of an older operator"),
        pytest.param(THEIRS, Plan(CREATE), Plan(status=OURS), id="another's, who is gone"),
        pytest.param(THEIRS, Plan(CREATE, status=RUNNING), Plan(status=OURS), id="another's, who is gone, with a word"),
        pytest.param(THEIRS, Plan(requeue_after=1), Plan(requeue_after=1), id="nothing to do"),
        pytest.param(OURS, Plan(CREATE, DELETE), Plan(CREATE, DELETE), id="ours"),
        pytest.param(OURS, Plan(CREATE, status=RUNNING), Plan(CREATE, status=OURS), id="stays ours"),
        pytest.param(None, NOT_UNDERSTOOD, NOT_UNDERSTOOD, id="not understood"),
    ],
)
def test_nothing_is_done_before_the_job_is_ours(status: Any, plan: Plan, claimed: Plan) -> None:
    assert claim(plan, job(status), operator="us/op") == claimed


@pytest.mark.parametrize("status", [None, RUNNING, OURS])
def test_who_has_no_lease_claims_nothing_and_gives_nothing_away(status: Any) -> None:
    plan = claim(Plan(CREATE, status=RUNNING), job(status), operator="")
    assert plan.create == CREATE
    assert owner_of({"status": plan.status}) == owner_of(job(status))
