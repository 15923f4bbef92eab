"""The end of an attempt, and what follows: success, another attempt, or the end of the run."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from footplate.api.status import FailureClass, Phase, Restarts, Spent, TrainingJobStatus, Trouble
from footplate.policy import (
    acceptance,
    clean_pods,
    elastic,
    phase,
    progress,
    refusal,
    restart,
    scheduling_timeout,
    share,
    start_trouble,
    usage,
    withholding,
)
from footplate.policy.data_stage import in_its_words, is_preparing
from footplate.policy.failure import Failure, node_lost, unfit_nodes
from footplate.policy.gang_scheduling import of_new_attempt
from footplate.policy.job import Job, move, with_attempt_begun, with_attempt_ended
from footplate.policy.plan import Doubt, Step
from footplate.policy.pod import Pod
from footplate.policy.reasons import Reason
from footplate.policy.success_words import what_came_out
from footplate.text import clean

_GRACEFUL = (Reason.EVICTED, Reason.STOPPED, Reason.RESIZED, Reason.RECLAIMED)
"""Ends after which the ranks may still be saving a checkpoint that the next attempt wants."""

_SUSPECT_NODE = (Reason.NODE_LOST, Reason.NODE_REFUSED, Reason.NODE_UNFIT, Reason.HANG, Reason.START_TIMEOUT)
"""Ends that speak against the node they came from. So does what keeps a run from starting that has run elsewhere."""


def has_succeeded(job: Job) -> bool:
    """True once every rank of the newest attempt is done, whatever became of their pods since; even where the attempt
    was to be stopped meanwhile. Or rank 0 has found that nothing is to be done.
    """
    if job.attempt is None or (is_preparing(job.attempt) and job.status.data_time is not None):
        return False
    return len(job.gang.succeeded) == job.desired or job.gang.is_already_complete


def end_succeeded(job: Job) -> Step:
    """The run ends as Succeeded, or goes on with its gang where this attempt was to prepare the data."""
    if is_preparing(job.attempt) and not job.gang.is_already_complete:
        return _end_prepared(job)
    if refused := acceptance.refusal(job.status, job.spec):
        return end_attempt(job, Failure(Reason.GATE_NOT_PASSED, refused, job.now, job.gang.current.get(0)))
    reason, now = Reason.ALREADY_COMPLETE if job.gang.is_already_complete else Reason.COMPLETED, job.now
    status = with_end(job, reason).model_copy(update={"completion_time": now, "failure": None})
    return Step(move(status, Phase.SUCCEEDED, reason, what_came_out(job), now=now))


def _end_prepared(job: Job) -> Step:
    """What its attempts have spent is no matter of the gang's, which begins with all of its budgets."""
    update = {"data_time": job.now, "failure": None, "spent": Spent()}
    status = with_end(job, Reason.DATA_PREPARED).model_copy(update=update)
    known = f": {status.data.in_words}" if status.data is not None else ""
    said = f"the data are prepared{known}; the gang is next"
    return Step(move(status, Phase.PENDING, Reason.DATA_PREPARED, said, now=job.now))


def end_run(job: Job, reason: Reason, text: str) -> Step:
    """The run ends as Failed, whatever the pods do."""
    return _fail(job, with_end(job, reason), reason, text)


def _fail(job: Job, status: TrainingJobStatus, reason: Reason, text: str) -> Step:
    failed = with_run_failed(status, reason, text, now=job.now)
    return Step(failed, delete=clean_pods.asked_for(job), doubts=unseen(job))


def with_run_failed(status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> TrainingJobStatus:
    """The status of a run that has failed; what its pods still do is stopped by the next look."""
    failed = move(status, Phase.FAILED, reason, clean(message), now=now)
    return failed.model_copy(update={"completion_time": now})


def with_end(job: Job, reason: Reason, cause: Failure | None = None) -> TrainingJobStatus:
    """The status with its attempt ended, for the cause if there is one."""
    suspect = reason in _SUSPECT_NODE or (reason in start_trouble.REASONS and start_trouble.has_run(job.status))
    node = cause.pod.node if cause and cause.pod and suspect else None
    step = progress.last_step(job.status, job.gang)
    status = with_attempt_ended(job.status, reason, now=job.now, node=node, last_step=step)
    update: dict[str, Any] = {"nodes": phase.count(job.gang, desired=job.desired)}
    if reason is Reason.NODE_UNFIT:
        *before, last = status.attempts
        update["attempts"] = [*before, last.model_copy(update={"unfit_nodes": unfit_nodes(job.gang)})]
    if not job.between_attempts:
        update |= {"usage": usage.close(job, reason), "stragglers": [], "spent": restart.refilled(status)}
        update["progress"] = status.progress and progress.at_rest(status.progress)
    if cause is not None:
        update["failure"] = cause.to_status()
    return status.model_copy(update=update)


def end_for_another_size(job: Job) -> Step | None:
    """Ends an elastic job's attempt that should give way to one of another size; None where it shouldn't."""
    change = elastic.resize(job)
    if change is None:
        return None
    status = with_end(job, Reason.RESIZED)
    return replace(
        _restart(job, status, Reason.RESIZED, change.why, nodes=change.nodes), doubts=(*change.doubts, *unseen(job))
    )


def end_attempt(job: Job, cause: Failure) -> Step:
    """Ends the attempt for a failure: another one follows, or the run ends with it."""
    return replace(_end_attempt(job, cause), doubts=(*cause.doubts, *unseen(job)))


def _end_attempt(job: Job, cause: Failure) -> Step:
    cause = in_its_words(cause) if is_preparing(job.attempt) else cause
    trouble = start_trouble.waits(job, cause)
    if trouble is not None:
        return _end_and_wait(job, cause, trouble)
    cause = start_trouble.judge(job, cause)
    status = with_end(job, cause.reason, cause)
    next_ = restart.decide(
        cause,
        policy=job.spec.run_policy,
        restarts=status.restarts or Restarts(),
        spent=status.spent or Spent(),
        attempts=status.attempts,
        before=job.status.failure,
    )
    if next_.delay is not None:
        charged = status.model_copy(update={"restarts": next_.restarts, "spent": next_.spent})
        nodes = elastic.size_after_failure(job)
        delay = 0.0 if nodes < job.desired else next_.delay
        return _restart(job, charged, next_.reason, next_.message, nodes=nodes, delay=delay)
    if next_.reason is Reason.REPEATED_ERROR and status.failure is not None:
        permanent = status.failure.model_copy(update={"class_": FailureClass.PERMANENT})
        status = status.model_copy(update={"failure": permanent})
    return _fail(job, status, next_.reason, next_.message)


def _end_and_wait(job: Job, cause: Failure, trouble: Trouble) -> Step:
    """Gives the nodes back while what the pods lack is waited for; nobody is charged."""
    status = with_end(job, cause.reason, cause).model_copy(update={"trouble": trouble})
    status = share.given_up(status, now=job.now)
    patience = job.spec.run_policy.scheduling_timeout_seconds
    why = f"{cause.message}; it is waited for up to {patience} s (runPolicy.schedulingTimeoutSeconds)"
    delay = start_trouble.seconds_to_pause(job)
    return _restart(job, status, cause.reason, why, nodes=job.desired, delay=delay)


def end_half_scheduled(job: Job) -> Step:
    """Gives the nodes of a half-scheduled gang back."""
    counts = phase.count(job.gang, desired=job.desired)
    why = (
        f"only {counts.scheduled} of {counts.desired} nodes were scheduled within "
        f"{job.spec.run_policy.scheduling_timeout_seconds} s (runPolicy.schedulingTimeoutSeconds); "
        f"they are given back{_because(job)}"
    )
    status, delay = with_end(job, Reason.SCHEDULING_TIMEOUT), scheduling_timeout.backoff(job)
    status = share.given_up(status, now=job.now)
    step = _restart(job, status, Reason.SCHEDULING_TIMEOUT, why, nodes=job.desired, delay=delay)
    return replace(step, doubts=(*scheduling_timeout.doubts(job), *unseen(job)))


def end_reclaimed(job: Job) -> Step | None:
    """Ends an attempt for what it holds of others: it goes on from its checkpoint, at once where it keeps enough nodes,
    else when it is its turn again. Nobody is charged. None where nobody asks for it.
    """
    nodes, admission = share.nodes_to_give(job), job.observed.admission
    if nodes is None or admission is None:
        return None
    status = share.leaving(with_end(job, Reason.RECLAIMED), nodes)
    next_ = {"restart_time": job.now, "restart_nodes": nodes or None}
    goes_on = f"on {nodes} node{'s' * (nodes > 1)} once they have" if nodes else "when it is its turn again"
    loses = "" if job.spec.checkpoint is not None else "; it has no checkpoint, so it begins from the start"
    text = f"{clean(admission.why, most=700)}; the ranks save and stop, and the job goes on {goes_on}{loses}"
    ended = move(status.model_copy(update=next_), Phase.RESTARTING, Reason.RECLAIMED, text, now=job.now)
    return Step(ended, doubts=unseen(job))


def _because(job: Job) -> str:
    """Why the rest has no nodes: the API server's words of pods that it refused, else the scheduler's."""
    refused = next(iter(job.refusals), None)
    if refused is not None:
        return f"; {refusal.describe(refused)}"
    if job.status.reason == Reason.PODS_REFUSED and job.status.message:
        return f"; {job.status.message}"
    return phase.because(job.gang)


def _restart(job: Job, status: TrainingJobStatus, reason: Reason, why: str, *, nodes: int, delay: float = 0.0) -> Step:
    when = f"in {delay:.0f} s" if delay else "now"
    grace = _seconds_to_save(job) if reason in _GRACEFUL else 0.0
    if grace > delay:
        when = f"when the other ranks have saved and stopped, in {grace:.0f} s at the latest"
    size = f" on {nodes} node{'s' * (nodes > 1)}" if nodes != job.desired else ""
    text = f"{clean(why, most=800)}; attempt {status.attempts[-1].attempt + 1} starts {when}{size}"
    next_: dict[str, Any] = {"restart_time": job.now + timedelta(seconds=delay)}
    if job.spec.elastic is not None:
        next_["restart_nodes"] = nodes
    return Step(move(status.model_copy(update=next_), Phase.RESTARTING, reason, text, now=job.now))


def between_attempts(job: Job) -> Step:
    """Between two attempts: the old pods go, and the next gang begins when it is due."""
    status, now = job.status, job.now
    wait = 0.0 if restart.is_free(status) else restart.seconds_left(status, now=now)
    if job.attempt is not None and job.attempt.reason in _GRACEFUL:
        wait = max(wait, _seconds_to_stop(job))
    if wait > 0:
        step = wait_until_stopped(job, requeue=[wait])
        given = share.given_in_pause(job) if is_stopped(job) else None
        return step if given is None else replace(step, status=given, doubts=_doubts_of_giving(job))
    held = withholding.start(job.observed, status, job.spec, now=now)
    if held is not None:
        gives_up = held.status and share.without_pods(share.given_up(held.status, now=now))
        return replace(held, status=gives_up, delete=clean_pods.outdated(job), doubts=_doubts_of_giving(job))
    status, may_begin = share.before_attempt(job)
    if not may_begin:
        return _wait_for_turn(job, status)
    gang = of_new_attempt(job.spec, job.observed.gang_state)
    nodes = elastic.next_size(job.spec, status)
    nodes = nodes if status.queue is None else min(nodes, status.queue.nodes)
    begun = with_attempt_begun(status, job.spec, nodes=nodes, gang=gang, now=now)
    if begun.phase is Phase.QUEUED:
        begun = move(begun, Phase.PENDING, Reason.CREATING_PODS, f"0 of {nodes} nodes created", now=now)
    return Step(begun, delete=clean_pods.asked_for(job), doubts=doubts_of_stop(job))


def _wait_for_turn(job: Job, status: TrainingJobStatus) -> Step:
    """It is in the line, or goes there; what its gang held is free once that is sure to have stopped."""
    admission = job.observed.admission
    look = admission.look if admission is not None else None
    stalled = admission is not None and admission.hopeless
    delete, doubts = clean_pods.outdated(job), _doubts_of_giving(job)
    return Step(status, delete=delete, requeue=(look,), stalled=stalled, doubts=doubts)


def _doubts_of_giving(job: Job) -> tuple[Doubt, ...]:
    """What must be confirmed before what the job holds is free for others."""
    return doubts_of_stop(job) if job.status.queue is not None and job.status.queue.nodes else ()


def wait_until_stopped(job: Job, requeue: Iterable[float] = ()) -> Step:
    """Deletes the pods of attempts that have ended, and looks again when the last of them must be gone."""
    requeue = (*requeue, _seconds_to_stop(job))
    return Step(job.status, delete=clean_pods.outdated(job), requeue=requeue)


def is_stopped(job: Job) -> bool:
    """True once no pod can be saving its state any more, provided that `doubts_of_stop` are confirmed."""
    return _seconds_to_stop(job) <= 0


def doubts_of_stop(job: Job) -> tuple[Doubt, ...]:
    """What must be confirmed before the gang counts as stopped."""
    lost = (_lost(job, pod) for pod in _living(job))
    return (*unseen(job), *(doubt for failure in lost if failure is not None for doubt in failure.doubts))


def unseen(job: Job) -> tuple[Doubt, ...]:
    """The attempt's pods that were there, aren't seen any more and aren't done: one whose label somebody took off looks
    as if it were gone, and trains on.
    """
    if job.attempt is None or job.attempt.created_time is None:
        return ()
    known = job.gang.succeeded.union(job.gang.current)
    return tuple(job.gang.doubt(rank) for rank in range(job.desired) if rank not in known)


def _seconds_to_stop(job: Job) -> float:
    """Seconds until every pod has saved its state, as far as anybody hears of it: who is on a lost node and was told to
    stop isn't waited for.
    """
    awaited = (pod for pod in _living(job) if not pod.terminating or _lost(job, pod) is None)
    return max((pod.seconds_to_stop(job.now) for pod in awaited), default=0.0)


def _seconds_to_save(job: Job) -> float:
    """The same for a gang that is about to be told to stop. Who has no node has nothing to save."""
    grace = job.spec.run_policy.termination_grace_period_seconds
    heard_of = [pod for pod in _living(job) if pod.node and _lost(job, pod) is None]
    left = (pod.seconds_to_stop(job.now) + (0 if pod.terminating else grace) for pod in heard_of)
    return max(left, default=0.0)


def _living(job: Job) -> list[Pod]:
    """Pods whose trainer may be saving its state."""
    return [pod for pod in job.gang.everyone if not pod.is_scout and not pod.ended]


def _lost(job: Job, pod: Pod) -> Failure | None:
    return node_lost(pod, job.observed.nodes, now=job.now)
