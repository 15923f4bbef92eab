"""Suspend and resume: the gang is stopped after a checkpoint, and goes on from it when the user says so; or, where it
has spent its budget, once that is raised.
"""

from dataclasses import replace

from footplate.api.status import Phase, TrainingJobStatus
from footplate.api.usage import Usage
from footplate.policy import budget, share
from footplate.policy.end import doubts_of_stop, is_stopped, wait_until_stopped, with_end
from footplate.policy.gang_scheduling import of_new_attempt
from footplate.policy.job import Job, move, with_attempt_begun
from footplate.policy.plan import Step
from footplate.policy.reasons import Reason


def suspend(job: Job) -> Step | None:
    """What is to be done on the way into suspension, in it, or out of it; None where it plays no part.

    A job that is on its way into suspension goes all of it, so that two gangs never share a checkpoint.
    """
    status, reason = job.status, _reason(job)
    if status.phase is Phase.SUSPENDED:
        return _waiting(job, reason) if reason is not None else Step(_resumed(job))
    if status.phase is Phase.SUSPENDING:
        return _suspended(status, job, reason) if is_stopped(job) else wait_until_stopped(job)
    if reason is None:
        return None
    status = with_end(job, reason)
    if is_stopped(job):
        return _suspended(status, job, reason)
    text = "the ranks are asked to stop"
    if job.spec.checkpoint is not None:
        text += "; what they save meanwhile is in status.checkpoint once it is safe"
    if reason is Reason.BUDGET_SPENT:
        text = f"{_spent(job)}: {text}"
    return Step(move(status, Phase.SUSPENDING, reason, text, now=job.now))


def _reason(job: Job) -> Reason | None:
    """Why the job is to be, or to stay, suspended; None where it isn't."""
    policy = job.spec.run_policy
    if policy.suspend:
        return Reason.SUSPENDED
    return Reason.BUDGET_SPENT if budget.share(policy.budget, job.status.usage) >= 1 else None


def _spent(job: Job) -> str:
    limit = job.spec.run_policy.budget
    return f"the budget is spent: {budget.describe(limit, job.status.usage or Usage())}" if limit is not None else ""


def _waiting(job: Job, reason: Reason) -> Step:
    """In suspension, of which the reason may change."""
    step = wait_until_stopped(job)
    if job.status.reason == reason:
        return step
    return replace(
        step, status=move(job.status, Phase.SUSPENDED, reason, _way_out(job.status, job, reason), now=job.now)
    )


def _suspended(status: TrainingJobStatus, job: Job, reason: Reason | None) -> Step:
    reason = reason or Reason.SUSPENDED
    text = _way_out(status, job, reason)
    given_back = dict.fromkeys(("nodes", "restart_time", "restart_nodes", "trouble", "queue"))
    status = status.model_copy(update=given_back)
    return Step(move(status, Phase.SUSPENDED, reason, text, now=job.now), doubts=doubts_of_stop(job))


def _way_out(status: TrainingJobStatus, job: Job, reason: Reason) -> str:
    text = "suspended; set runPolicy.suspend to false to go on"
    if reason is Reason.BUDGET_SPENT:
        text = f"{_spent(job)}; raise it to go on"
    if (there := status.checkpoint) is not None:
        if there.step is not None:
            text += f" from step {there.step:,}"
        elif there.time is not None:
            text += f" from what was saved at {there.time:%Y-%m-%d %H:%M:%S} UTC"
    return text


def _resumed(job: Job) -> TrainingJobStatus:
    waiting = share.enter(job.status, job.spec, job.observed, now=job.now)
    if waiting is not None:
        return waiting
    gang = of_new_attempt(job.spec, job.observed.gang_state)
    status = with_attempt_begun(job.status, job.spec, nodes=job.spec.nodes, gang=gang, now=job.now)
    return move(status, Phase.PENDING, Reason.RESUMED, "resumed; the pods are being created", now=job.now)
