"""A living attempt: creates the pods that are missing, and shows how far the gang is."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from footplate.api.status import Phase, TrainingJobStatus
from footplate.attempt_spec import AttemptSpec
from footplate.objects import Object
from footplate.podspec import build_pods, build_service
from footplate.policy import (
    clean_pods,
    elastic,
    events,
    failure,
    gang_scheduling,
    idle,
    phase,
    refusal,
    scheduling_timeout,
    start_trouble,
    suspects,
    usage,
)
from footplate.policy.data_stage import DATA, is_preparing
from footplate.policy.facts import all_created
from footplate.policy.gang_scheduling import explain, group_to_create, kind_of
from footplate.policy.job import Job, move
from footplate.policy.plan import Refusal, Step
from footplate.policy.reasons import Reason
from footplate.policy.run import nonce_digest

AVOID_NODE_FOR = timedelta(hours=1)


def advance(job: Job) -> Step:
    """The next step of an attempt that has no reason to end."""
    failing = refusal.failing(job.refusals, now=job.now)
    awaited = failing is not None and refusal.waits_for_older_pods(failing, job.gang)
    overdue = clean_pods.overdue(job)
    missing = _missing(job)
    begun = job.attempt if missing and not job.gang.current and not job.refusals else None  # said once
    kept_away = suspects.kept_away(_suspects(job), attempt=begun.attempt) if begun is not None else ()
    return Step(
        _show(job, None if awaited else failing, room_awaited=awaited),
        create=(*missing, *_scouts(job)),
        delete=(*clean_pods.outdated(job), *(pod.target for pod in overdue)),
        requeue=tuple(_next_looks(job)),
        notices=(*map(events.sidecar, overdue), *kept_away),
        failing=None if awaited else failing,
    )


def _show(job: Job, failing: Refusal | None, *, room_awaited: bool) -> TrainingJobStatus:
    status, gang, now = job.status, job.gang, job.now
    counts = phase.count(gang, desired=job.desired)
    now_phase, reason = phase.derive(gang, counts, was=status.phase or Phase.PENDING)
    since = _since(job, now_phase)
    said = None
    if now_phase is Phase.QUEUED:
        wait = explain(job, reason)
        reason, said = wait.reason, wait.said
    text = phase.describe(now_phase, gang, counts, status.progress, mounts=job.mounts, said=said, since=since, now=now)
    if now_phase is Phase.RUNNING:
        text += elastic.describe(job)
        text += f"; {idle.describe(status.idle_since, now=now)}" if status.idle_since is not None else ""
    if room_awaited:
        text += "; the quota has room for the rest once the pods of the attempt before have ended"
    if failing is not None:
        reason = refusal.waits_as(failing)
        text = refusal.describe(failing)
    stuck = refusal.failing((each for each in job.observed.refusals if each.verb == "delete"), now=now)
    if stuck is not None:
        text += f"; {refusal.describe(stuck)}"
    if is_preparing(job.attempt):
        text = f"the data are being prepared by pod {gang.name}-0: {text}"
    trouble = None if now_phase is Phase.RUNNING else start_trouble.remember(job)
    status = status.model_copy(update={"nodes": counts, "trouble": trouble})
    if elastic.scouts_are_due(job):
        status = status.model_copy(update={"scout_time": now})
    if now_phase is Phase.RUNNING:
        status = _with_running_time(status, job)
    if is_preparing(job.attempt) and failing is None:
        now_phase, reason = Phase.PENDING, Reason.PREPARING_DATA
    return move(status, now_phase, reason, text, now=now)


def _since(job: Job, now_phase: Phase) -> datetime:
    """Since when the job waits for what it waits for in this phase: for nodes over all attempts that found too few."""
    waited = scheduling_timeout.waiting_since(job) if now_phase is Phase.QUEUED else None
    transitions = job.status.transitions if job.status.phase is now_phase else []
    return waited or next((each.time for each in reversed(transitions)), job.now)


def _with_running_time(status: TrainingJobStatus, job: Job) -> TrainingJobStatus:
    *before, attempt = status.attempts
    if attempt.running_time is not None:
        return status
    attempts = [*before, attempt.model_copy(update={"running_time": job.now})]
    running_time = status.running_time if attempt.stage else status.running_time or job.now
    return status.model_copy(update={"attempts": attempts, "running_time": running_time})


def _missing(job: Job) -> tuple[Object, ...]:
    """The Service, PodGroup and pods that the attempt lacks while it is being created; later a missing pod ends it."""
    group = group_to_create(job, _gang_of(job))
    if all_created(job.attempt):
        return group
    gang = job.gang
    ranks = [rank for rank in range(job.desired) if rank not in gang.current and rank not in gang.succeeded]
    service = build_service(job.config, name=job.run_name, labels=job.observed.labels)
    return (service, *group, *build_pods(_gang_of(job), ranks))


def _scouts(job: Job) -> Sequence[Object]:
    """The pods that look for places for more ranks, where that is due."""
    return elastic.send_scouts(job, _gang_of(job))


def _gang_of(job: Job) -> AttemptSpec:
    number = job.attempt.attempt if job.attempt is not None else 0
    avoid = _nodes_to_avoid(job)
    resolved, nonce, tokens = job.status.resolved, job.status.restart_nonce, job.observed.tokens
    return AttemptSpec(
        job.config,
        job.spec,
        job.run_name,
        attempt=number,
        nodes=job.desired,
        avoid=avoid,
        gang=kind_of(job),
        spec_sha256=(resolved and resolved.spec_sha256) or "",
        nonce=nonce_digest(nonce) if nonce else "",
        labels=job.observed.labels,
        token=tokens.of_run(job.config.metadata.uid, job.config.run),
        open_metrics=tokens.open_metrics,
        stage=DATA if is_preparing(job.attempt) else "",
    )


def _nodes_to_avoid(job: Job) -> list[str]:
    """Nodes that ended an attempt within the last hour, and those whose accelerators are suspect where some are asked
    for.
    """
    recent = job.now - AVOID_NODE_FOR
    attempts = job.status.attempts
    ended = [attempt for attempt in attempts if attempt.end_time is not None and attempt.end_time > recent]
    blamed = {node for attempt in ended for node in (attempt.node, *(attempt.unfit_nodes or ())) if node is not None}
    return sorted(blamed.union(_suspects(job)))


def _suspects(job: Job) -> Mapping[str, str]:
    return job.observed.suspects if job.config.devices else {}


def _next_looks(job: Job) -> Iterable[float | None]:
    now, gang = job.now, job.gang
    yield from failure.next_look(gang, job.observed.nodes, now=now)
    yield from start_trouble.next_looks(job)
    yield scheduling_timeout.seconds_left(job)
    yield from elastic.next_looks(job)
    yield phase.seconds_until_slow(gang, now=now)
    yield usage.seconds_until_due(job)
    yield from gang_scheduling.next_looks(job)
