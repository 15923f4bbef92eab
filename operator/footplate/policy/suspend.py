"""Suspend and resume: the gang is stopped after a checkpoint, and goes on from it when the user says so."""

from footplate.api.status import Phase, TrainingJobStatus
from footplate.policy import share
from footplate.policy.end import doubts_of_stop, is_stopped, wait_until_stopped, with_end
from footplate.policy.gang_scheduling import of_new_attempt
from footplate.policy.job import Job, move, with_attempt_begun
from footplate.policy.plan import Step
from footplate.policy.reasons import Reason


def suspend(job: Job) -> Step | None:
    """What is to be done on the way into suspension, in it, or out of it; None where it plays no part.

    A job that is on its way into suspension goes all of it, so that two gangs never share a checkpoint.
    """
    status, wanted = job.status, job.spec.run_policy.suspend
    if status.phase is Phase.SUSPENDED:
        return wait_until_stopped(job) if wanted else Step(_resumed(job))
    if status.phase is Phase.SUSPENDING:
        return _suspended(status, job) if is_stopped(job) else wait_until_stopped(job)
    if not wanted:
        return None
    status = with_end(job, Reason.SUSPENDED)
    if is_stopped(job):
        return _suspended(status, job)
    text = "the ranks are asked to stop"
    if job.spec.checkpoint is not None:
        text += "; what they save meanwhile is in status.checkpoint once it is safe"
    return Step(move(status, Phase.SUSPENDING, Reason.SUSPENDED, text, now=job.now))


def _suspended(status: TrainingJobStatus, job: Job) -> Step:
    text = "suspended; set runPolicy.suspend to false to go on"
    if (there := status.checkpoint) is not None:
        if there.step is not None:
            text += f" from step {there.step:,}"
        elif there.time is not None:
            text += f" from what was saved at {there.time:%Y-%m-%d %H:%M:%S} UTC"
    status = status.model_copy(
        update={"nodes": None, "restart_time": None, "restart_nodes": None, "trouble": None, "queue": None}
    )
    return Step(move(status, Phase.SUSPENDED, Reason.SUSPENDED, text, now=job.now), doubts=doubts_of_stop(job))


def _resumed(job: Job) -> TrainingJobStatus:
    waiting = share.enter(job.status, job.spec, job.observed, now=job.now)
    if waiting is not None:
        return waiting
    gang = of_new_attempt(job.spec, job.observed.gang_state)
    status = with_attempt_begun(job.status, nodes=job.spec.nodes, gang=gang, now=job.now)
    return move(status, Phase.PENDING, Reason.RESUMED, "resumed; the pods are being created", now=job.now)
