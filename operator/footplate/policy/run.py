"""A run: which one is due, and how it begins. The merged job is fixed in the run's ConfigMap before anything else is
created.

The ConfigMap is taken as the run's only if it says what the job and its runtime say now; from then on its digest is in
the status. Neither a crash in between nor a ConfigMap that somebody else put there changes what runs.
"""

from dataclasses import replace
from datetime import datetime

from footplate.api.status import MAX_NONCES_KEPT, NodeCounts, Phase, ResolvedRun, Restarts, TrainingJobStatus
from footplate.attempt_spec import run_name
from footplate.contract import JOB_FILE, JobConfig
from footplate.objects import OVERSIZE, TOO_DEEP, Object, block, number, text, uid_of
from footplate.podspec import build_config_map
from footplate.policy import deadline, refusal, share, withholding
from footplate.policy.data_stage import of_stage
from footplate.policy.end import with_run_failed
from footplate.policy.gang_scheduling import of_new_attempt
from footplate.policy.job import is_finished, move, wait_for_user, with_attempt_begun
from footplate.policy.mutable import RESTART_NONCE, may_change, with_live_fields
from footplate.policy.plan import Observed, Refusal, Step
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, digest, encode, spec_digest
from footplate.policy.run_config import config_target, own_config, refused_config, resolve_within

ORDER_SECONDS = 60.0
"""So long may what a job names come after the job: who applies both, as GitOps does, gives up what has failed."""

MAX_NONCE_LENGTH = 253


def restart_nonce(job: Object) -> str:
    """What `runPolicy.restartNonce` says now."""
    return text(block(job, "spec", "runPolicy"), "restartNonce")[:MAX_NONCE_LENGTH]


def due_run(job: Object, status: TrainingJobStatus, *, runtime: Object | None) -> int:
    """Number of the run that the job is in, or should be: once it has finished, a `restartNonce` that it never had, and
    that the policy of its runtime lets it set, asks for another.
    """
    if status.run is None:
        return 1
    nonce = restart_nonce(job)
    again = is_finished(status) and _is_new(nonce, status) and may_change(RESTART_NONCE, nonce, runtime)
    return status.run + 1 if again else status.run


def run_config_name(job: Object, status: TrainingJobStatus, *, runtime: Object | None) -> str:
    """Name of the ConfigMap of the run that the job is in, or should be."""
    run = due_run(job, status, runtime=runtime)
    if status.resolved is not None and status.run == run:
        return status.resolved.config_map
    return run_name(str(job["metadata"]["name"]), run, uid=uid_of(job))


def _is_new(nonce: str, status: TrainingJobStatus) -> bool:
    """True for a value that no run of this job has answered: one that was taken back, or comes back by a revert, asks
    for nothing.
    """
    return nonce not in ("", status.restart_nonce) and nonce_digest(nonce) not in status.restart_nonces


def nonce_digest(nonce: str) -> str:
    """How a nonce is remembered: in few characters, whatever it is."""
    return digest(nonce)[:16]


def _answered(status: TrainingJobStatus, nonce: str) -> list[str]:
    """Digests of the values that runs have answered, this one among them."""
    last = [nonce_digest(each) for each in (status.restart_nonce, nonce) if each]
    return [*dict.fromkeys([*status.restart_nonces, *last])][-MAX_NONCES_KEPT:]


def begin_run(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> TrainingJobStatus:
    """The status of the run that is due; only the history of phases is taken over from another run's."""
    run, nonce = due_run(observed.job, status, runtime=observed.runtime), restart_nonce(observed.job)
    if status.run == run:
        return status.model_copy(update={"restart_nonce": nonce, "restart_nonces": _answered(status, nonce)})
    return TrainingJobStatus(
        uid=uid_of(observed.job) or None,
        run=run,
        restart_nonce=nonce,
        restart_nonces=_answered(status, nonce),
        start_time=now,
        restarts=Restarts(),
        transitions=status.transitions,
    )


def start_run(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Step:
    """Resolves the job and fixes the result; or says why it can't. `status` is that of the run that is due."""
    job = observed.job
    if OVERSIZE in job:
        return _too_big(job, status, now=now)
    reference = block(job, "spec", "runtimeRef")
    if reference and observed.runtime is None:
        kind = text(reference, "kind") or "ClusterTrainingRuntime"
        why = f"spec.runtimeRef: there is no {kind} {text(reference, 'name')!r}; the job starts once it is there"
        return _wait_for_runtime(status, why, now=now)
    if observed.runtime is not None and OVERSIZE in observed.runtime:
        why = _size(text(observed.runtime, "kind"), observed.runtime)
        return wait_for_user(status, Reason.INVALID_SPEC, why, now=now)
    try:
        config = resolve_within(observed, run=due_run(job, status, runtime=observed.runtime))
    except RuntimeRefuses as error:
        return wait_for_user(status, Reason.RUNTIME_REFUSES, str(error), now=now)
    except InvalidJob as error:
        if reference:
            return wait_for_user(status, Reason.INVALID_SPEC, str(error), now=now)
        return Step(with_run_failed(status, Reason.INVALID_SPEC, str(error), now=now))
    spec = with_live_fields(config, job, observed.runtime).spec
    if (held := withholding.start(observed, status, spec, now=now)) is not None:
        return held
    return _fix(observed, status, config, now=now)


def _too_big(job: Object, status: TrainingJobStatus, *, now: datetime) -> Step:
    """The operator keeps no job of any size; one that only has no room now is taken up when there is some."""
    why = _size("TrainingJob", job)
    if block(job, OVERSIZE).get("bytes"):
        return Step(with_run_failed(status, Reason.INVALID_SPEC, why, now=now))
    return wait_for_user(status, Reason.INVALID_SPEC, why, now=now)


def _size(kind: str, obj: Object) -> str:
    size, most = (number(block(obj, OVERSIZE), field) or 0 for field in ("bytes", "most"))
    name = text(block(obj, "metadata"), "name")
    if size == TOO_DEEP:
        return f"spec: {kind} {name!r} is nested too deeply to be read; write it flatter"
    if size:
        return (
            f"spec: {kind} {name!r} takes {size} bytes, and {most} is the most; put what is large into a ConfigMap, a "
            "dataset or the image, and let the spec refer to it"
        )
    return (
        f"{kind} {name!r} isn't read: the {kind}s of its namespace take more than its share of the operator's memory; "
        "delete some that are finished, and this one is taken up within ten minutes"
    )


def _wait_for_runtime(status: TrainingJobStatus, why: str, *, now: datetime) -> Step:
    """What is applied together comes in any order: for a moment that is no reason to call for somebody."""
    waited = (now - (status.start_time or now)).total_seconds()
    step = wait_for_user(status, Reason.RUNTIME_NOT_FOUND, why, now=now)
    return replace(step, stalled=waited >= ORDER_SECONDS, requeue=(*step.requeue, ORDER_SECONDS - waited))


def _fix(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Step:
    encoded, found, refused = encode(config), own_config(observed), refused_config(observed)
    if found is None:
        return _create(observed, status, config, refused, now=now)
    if text(block(found, "data"), JOB_FILE) != encoded:
        return Step(delete=(config_target(found),))
    name, devices = text(block(found, "metadata"), "name"), dict(config.devices)
    resolved = ResolvedRun(
        config_map=name,
        sha256=digest(encoded),
        spec_sha256=spec_digest(observed.job),
        accelerators=devices or None,
        data_in_gang=config.data_in_gang,
    )
    return _start(observed, status.model_copy(update={"resolved": resolved}), config, now=now)


def _create(
    observed: Observed, status: TrainingJobStatus, config: JobConfig, refused: Refusal | None, *, now: datetime
) -> Step:
    name = run_name(config.metadata.name, config.run, uid=config.metadata.uid)
    create = (build_config_map(config, encode(config), name=name, labels=observed.labels),)
    failing = refusal.failing((refused,) if refused is not None else (), now=now)
    if failing is None:
        return Step(create=create)
    final = refusal.final([failing], has_run=False)
    policy = with_live_fields(config, observed.job, observed.runtime).spec.run_policy
    limit = None if policy.suspend else policy.queue_deadline_seconds
    left = None if limit is None else limit - (now - (failing.since or now)).total_seconds()
    if final is None and limit is not None and left is not None and left <= 0:
        final = Reason.QUEUE_DEADLINE, deadline.queue_deadline(limit)
    if final is not None:
        return Step(with_run_failed(status, *final, now=now))
    reason = refusal.waits_as(failing)
    step = wait_for_user(status, reason, refusal.describe(failing), now=now)
    return replace(step, create=create, stalled=not failing.transient, requeue=(*step.requeue, left))


def _start(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Step:
    spec = of_stage(with_live_fields(config, observed.job, observed.runtime).spec, status)
    if spec.run_policy.suspend:
        why = "created suspended; set runPolicy.suspend to false to start"
        return Step(move(status, Phase.SUSPENDED, Reason.SUSPENDED, why, now=now))
    waiting = share.enter(status, spec, observed, now=now)
    if waiting is not None:
        return Step(waiting)
    gang = of_new_attempt(spec, observed.gang_state)
    begun = with_attempt_begun(status, spec, nodes=spec.nodes, gang=gang, now=now)
    begun = begun.model_copy(update={"nodes": NodeCounts(desired=spec.nodes)})
    why = f"0 of {spec.nodes} nodes created"
    return Step(move(begun, Phase.PENDING, Reason.CREATING_PODS, why, now=now))
