"""One look at a job: what is observed goes in, what is to be done comes out. Pure, and never surprised.

Each step either settles the matter or passes it on; their order is the order of `reconcile` and `_live`. A change of
the status is written before anything that depends on it is done: a crash between the two finds the decision made.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from footplate.api.status import TrainingJobStatus
from footplate.contract import JobConfig
from footplate.objects import block
from footplate.policy import clean_pods, deadline, events, failure, progress, run_config, scheduling_timeout, usage
from footplate.policy.attempt import advance
from footplate.policy.end import between, end, fail, has_succeeded, release, resize, succeed
from footplate.policy.mutable import with_live_fields
from footplate.policy.plan import Observed, Plan, Refusal, once_confirmed
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.policy.run import begin, name_conflict
from footplate.policy.situation import Situation, begin_run, due_run, gang_size, is_finished, read_status
from footplate.policy.status import publish
from footplate.policy.suspend import suspend


def reconcile(observed: Observed, *, now: datetime) -> Plan:
    """Decides what is to be done for a job.

    Args:
        observed: the job, its pods, and all else that matters; nothing is remembered from look to look.
        now: the time, with a time zone.
    """
    if block(observed.job, "metadata").get("deletionTimestamp"):
        return Plan()
    status = read_status(observed.job)
    run_is_due = status.run != due_run(observed.job, status)
    if run_is_due or (status.resolved is None and not is_finished(status)):
        return begin(observed, begin_run(observed.job, status, now=now), now=now)
    config = run_config.read(observed, status)
    if config is None:
        return run_config.go_without(observed, status, now=now)
    situation = _situate(observed, status, config, now=now)
    plan = _finished(situation) if is_finished(status) else _live(situation)
    return events.attach(plan, before=status, spec=situation.spec)


def _situate(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Situation:
    spec = with_live_fields(config.spec, observed.job, observed.runtime)
    attempt = status.attempts[-1] if status.attempts else None
    gang = Gang.of(
        observed.pods,
        observed.job,
        run=config.run,
        attempt=attempt.attempt if attempt else -1,
        nodes=gang_size(spec, attempt),
    )
    polled = progress.believed(observed.progress, status, uid=config.metadata.uid)
    updated = progress.update(status, polled=polled, gang=gang)
    situation = Situation(observed, now, updated, config, spec, gang)
    used = usage.update(situation, before=status, polled=polled)
    return replace(situation, status=updated.model_copy(update={"usage": used}))


def _finished(situation: Situation) -> Plan:
    status, delete = situation.status, clean_pods.finished(situation)
    if clean_pods.expired(situation) and not delete:
        status, delete = status.model_copy(update={"resolved": None}), clean_pods.leftovers(situation)
    left = clean_pods.seconds_to_live(situation)
    return publish(situation.observed, status, now=situation.now, delete=delete, requeue=[left])


def _live(situation: Situation) -> Plan:
    refused = _refused_for_good(situation.refusals)
    if refused is not None:
        return fail(situation, *refused)
    if has_succeeded(situation):
        return succeed(situation)
    suspending = suspend(situation)
    if suspending is not None:
        return suspending
    over = next((limit for limit in deadline.deadlines(situation) if limit.left <= 0), None)
    if over is not None:
        plan = fail(situation, over.reason, over.message)
        return once_confirmed(plan, observed=situation.observed, doubts=over.doubts)
    return between(situation) if situation.between_attempts else _attempt(situation)


def _attempt(situation: Situation) -> Plan:
    """A living attempt goes on unless there is a reason to end it."""
    gang, now = situation.gang, situation.now
    cause = failure.find(
        gang, situation.observed.nodes, desired=situation.desired, all_created=situation.all_created, now=now
    )
    if cause is not None and failure.is_settled(cause, gang, now=now):
        return end(situation, cause)
    resized = resize(situation) if cause is None else None
    if resized is not None:
        return resized
    left = scheduling_timeout.seconds_left(situation)
    return release(situation) if left is not None and left <= 0 else advance(situation)


def _refused_for_good(refusals: Iterable[Refusal]) -> tuple[Reason, str] | None:
    """The first refusal that trying again can't change, as reason and message."""
    for refusal in refusals:
        if refusal.reason == "NameConflict":
            return Reason.NAME_CONFLICT, name_conflict(refusal)
        if refusal.code in (400, 422):
            text = f"the API server says of {refusal.kind} {refusal.name}: {refusal.message}; correct the spec"
            return Reason.INVALID_POD, text
    return None
