"""One look at a job: what is observed goes in, what is to be done comes out. Pure, and never surprised.

Each policy either settles the matter with a `Step` or passes it on; their order is the order of `_decide`, `_live` and
`_attempt`. A change of the status is written before anything that depends on it is done: a crash between the two finds
the decision made.
"""

from dataclasses import replace
from datetime import datetime
from functools import partial

from footplate.api.status import TrainingJobStatus
from footplate.contract import JobConfig
from footplate.objects import OVERSIZE, block, text
from footplate.policy import (
    acceptance,
    boundary,
    clean_pods,
    deadline,
    events,
    failure,
    gang_scheduling,
    history,
    idle,
    progress,
    refusal,
    run_config,
    scheduling_timeout,
    share,
    start_trouble,
    usage,
    withholding,
)
from footplate.policy.attempt import advance
from footplate.policy.data_stage import config_of_stage, of_stage
from footplate.policy.end import (
    between_attempts,
    end_attempt,
    end_for_another_size,
    end_half_scheduled,
    end_reclaimed,
    end_run,
    end_succeeded,
    has_succeeded,
)
from footplate.policy.facts import all_created, parse_ranks, with_facts
from footplate.policy.job import Job, UnknownStatus, gang_size, is_finished, read_status, without_copied_status
from footplate.policy.measures import Measures, measure
from footplate.policy.mutable import with_live_fields
from footplate.policy.plan import Observed, Plan, Step
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.policy.run import begin_run, due_run, start_run
from footplate.policy.status import leave_alone, publish
from footplate.policy.suspend import suspend
from footplate.text import clean


def reconcile(observed: Observed, *, now: datetime) -> Plan:
    """Decides what is to be done for a job.

    Args:
        observed: the job, its pods, and all else that matters; nothing is remembered from look to look.
        now: the time, with a time zone.
    """
    observed = replace(observed, job=without_copied_status(observed.job))
    if (
        block(observed.job, "metadata").get("deletionTimestamp")
        or text(block(observed.job, "status"), "phase") == OVERSIZE
    ):
        return Plan()
    try:
        status = read_status(observed.job)
    except UnknownStatus as error:
        return leave_alone(error)
    step = _decide(observed, status, now=now)
    plan = publish(observed, step, now=now)
    if plan.status is None or step.status is None:
        return plan
    return replace(plan, measures=measure(observed.job, before=status, after=step.status, now=now))


def measure_deleted(observed: Observed, *, now: datetime) -> Measures:
    """What a job that is being deleted, or is gone, has held and cost since its status last said so: it says no more.

    Raises:
        UnknownStatus: the status isn't understood.
    """
    status = read_status(observed.job)
    config = run_config.read(observed, status)
    if config is None or is_finished(status):
        return Measures()
    job = _read_job(observed, status, config, now=now)
    if job.between_attempts:
        return Measures()
    after = job.status.model_copy(update={"usage": usage.close(job, Reason.STOPPED)})
    found = measure(observed.job, before=status, after=after, now=now)
    return Measures(spent=found.spent, cost=found.cost)


def _decide(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Step:
    run_is_due = status.run != due_run(observed.job, status, runtime=observed.runtime)
    if run_is_due or (status.resolved is None and not is_finished(status)):
        return start_run(observed, begin_run(observed, status, now=now), now=now)
    if is_finished(status) and history.is_over(observed):
        return Step(delete=(clean_pods.whole_job(observed.job),))
    config = run_config.read(observed, status)
    if config is not None:
        return _decide_of(observed, status, config, now=now)
    if is_finished(status):
        return run_config.sweep(observed, status, now=now)
    again = run_config.made_again(observed, status)
    if again is None:
        return run_config.end_without(status, now=now)
    config, config_map = again
    step = _decide_of(replace(observed, run_config=config_map), status, config, now=now)
    return run_config.put_back(observed, step, config_map)


def _decide_of(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Step:
    job = _read_job(observed, status, config, now=now)
    step = _finished(job) if is_finished(status) else _live(job)
    news = tuple(events.news(before=status, after=step.status, spec=job.spec))
    return replace(step, events=news, refused_edits=clean("; ".join(map(str, job.refused_edits))))


def _read_job(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Job:
    attempt = status.attempts[-1] if status.attempts else None
    edited = with_live_fields(
        config,
        observed.job,
        observed.runtime,
        judge=partial(boundary.refused, observed),
        living=attempt.nodes if attempt is not None and attempt.end_time is None and not attempt.stage else None,
    )
    edited = withholding.edits(observed, status, edited)
    spec, config = of_stage(edited.spec, status), config_of_stage(config, status)
    nodes = gang_size(spec, attempt)
    gang = Gang.of(
        observed.pods,
        observed.job,
        run=config.run,
        attempt=attempt.attempt if attempt else -1,
        nodes=nodes,
        now=now,
        remembered=parse_ranks(attempt.succeeded_ranks if attempt else None, nodes=nodes),
    )
    polled = progress.believed(observed.progress, status, uid=config.metadata.uid)
    said = acceptance.held(progress.update(status, polled=polled, gang=gang, now=now), spec)
    known = with_facts(said, gang, desired=nodes, now=now)
    job = Job(observed, now, known, config, spec, gang, edited.refused)
    job = share.keep_up(job)
    used = usage.update(job, before=status, polled=polled)
    job = replace(job, status=job.status.model_copy(update={"usage": used}))
    return replace(job, status=idle.update(job))


def _finished(job: Job) -> Step:
    status, policy, overdue = job.status, job.spec.run_policy, clean_pods.overdue(job)
    delete = clean_pods.finished(job)
    left = clean_pods.seconds_to_live(status, policy.ttl_seconds_after_finished, now=job.now)
    if left is not None and left <= 0 and not policy.ttl_keeps_job:
        return Step(delete=(clean_pods.whole_job(job.raw),))
    if left is not None and left <= 0 and not delete:
        delete = clean_pods.leftovers(job)  # the status gives the ConfigMap up once it is seen to be gone
    looks = (left, *failure.next_words(job.gang, now=job.now))
    return Step(status, delete=delete, requeue=looks, notices=tuple(map(events.sidecar, overdue)))


def _live(job: Job) -> Step:
    if (refused := _refused_for_good(job)) is not None:
        return end_run(job, *refused)
    if has_succeeded(job):
        return end_succeeded(job)
    if job.gang.may_have_succeeded(job.desired):
        return _await_last_words(job)
    suspending = suspend(job)
    if suspending is not None:
        return suspending
    limits = [*deadline.deadlines(job)]
    over = next((limit for limit in limits if limit.left <= 0), None)
    if over is not None:
        ended = end_run(job, over.reason, over.message)
        return replace(ended, doubts=(*ended.doubts, *over.doubts))
    resting = idle.stop(job)
    if resting is not None:
        return end_run(job, *resting)
    step = between_attempts(job) if job.between_attempts else _attempt(job)
    return replace(step, requeue=(*step.requeue, *(limit.left for limit in limits)))


def _refused_for_good(job: Job) -> tuple[Reason, str] | None:
    """The first refusal that ends the run. Its ConfigMap was taken when the run began, whatever has run of it since."""
    has_run = start_trouble.has_run(job.status)
    found = (refusal.final([each], has_run=has_run or each.kind == "ConfigMap") for each in job.refusals)
    return next((end for end in found if end is not None), None)


def _await_last_words(job: Job) -> Step:
    """All ranks have ended well, as far as is known: nothing else ends the run, nor are their pods deleted, until that
    is sure.
    """
    if not job.between_attempts:
        return advance(job)
    return Step(job.status, requeue=tuple(failure.next_words(job.gang, now=job.now)))


def _attempt(job: Job) -> Step:
    """A living attempt goes on unless there is a reason to end it."""
    settling = gang_scheduling.settle(job)
    if settling is not None:  # whoever waits without a pod gives back what it has borrowed, too
        return end_reclaimed(job) or replace(settling, delete=clean_pods.outdated(job))
    cause = failure.find(
        job.gang, job.observed.nodes, desired=job.desired, all_created=all_created(job.attempt), now=job.now
    )
    settled = cause is not None and failure.is_settled(cause, job.gang, now=job.now)
    ended_by = cause if settled else start_trouble.due(job)
    if ended_by is not None:
        return end_attempt(job, ended_by)
    reclaimed = end_reclaimed(job) if cause is None else None
    if reclaimed is not None:
        return reclaimed
    resized = end_for_another_size(job) if cause is None else None
    if resized is not None:
        return resized
    left = scheduling_timeout.seconds_left(job)
    return end_half_scheduled(job) if left is not None and left <= 0 else advance(job)
