"""What a job that its TrainingPolicies refuse does: it begins nothing, and waits until they allow it or it is edited. A
gang that runs, runs on: a policy that was tightened holds from the next attempt, resume or edit on.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from footplate.api.errors import Problem
from footplate.api.status import Phase, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import block, time
from footplate.policy import boundary
from footplate.policy.job import gang_size, wait_for_user
from footplate.policy.mutable import Edited
from footplate.policy.plan import Observed, Step
from footplate.policy.reasons import Reason

YOUNG = timedelta(seconds=10)
"""A job may be seen before its namespace is, if both were just created: that isn't worth a word yet."""


def start(observed: Observed, status: TrainingJobStatus, spec: TrainingJobSpec, *, now: datetime) -> Step | None:
    """What is done instead of beginning a run or an attempt; None where it may begin."""
    problems = boundary.refused(observed, spec)
    if not problems:
        return None
    created = time(block(observed.job, "metadata"), "creationTimestamp")
    if not observed.policies_known and created is not None and now - created < YOUNG:
        return Step(requeue=(YOUNG.total_seconds(),))
    return wait_for_user(status, Reason.POLICY_REFUSES, "; ".join(map(str, problems)), now=now)


def edits(observed: Observed, status: TrainingJobStatus, edited: Edited) -> Edited:
    """What counts of the edits of a living job: all but those by which something would begin that policies refuse."""
    if status.phase is Phase.SUSPENDED and not edited.spec.run_policy.suspend:
        return _kept_suspended(edited, boundary.refused(observed, edited.spec))
    attempt = status.attempts[-1] if status.attempts else None
    if edited.spec.elastic is None or attempt is None or attempt.end_time is not None:
        return edited
    nodes = gang_size(edited.spec, attempt)
    problems = boundary.refused(observed, edited.spec) if nodes != edited.spec.nodes else []
    return _kept_in_size(edited, nodes, problems)


def _kept_suspended(edited: Edited, problems: Sequence[Problem]) -> Edited:
    if not problems:
        return edited
    policy = edited.spec.run_policy.model_copy(update={"suspend": True})
    spec = edited.spec.model_copy(update={"run_policy": policy})
    return Edited(spec, [*edited.refused, *(_held("spec.runPolicy.suspend", False, each) for each in problems)])


def _kept_in_size(edited: Edited, nodes: int, problems: Sequence[Problem]) -> Edited:
    if not problems:
        return edited
    spec = edited.spec.model_copy(update={"nodes": nodes})
    held = [_held("spec.nodes", edited.spec.nodes, each) for each in problems]
    return Edited(spec, [*edited.refused, *held])


def _held(path: str, value: object, problem: Problem) -> Problem:
    return replace(problem, path=path, value=value, rule=f"waits, because {problem}", way_out="")
