"""The beginning of a run: the merged job is fixed in the run's ConfigMap before anything else is created.

The ConfigMap is taken as the run's only if it says what the job and its runtime say now; from then on its digest is in
the status. Neither a crash in between nor a ConfigMap that somebody else put there changes what runs.
"""

from datetime import datetime

from footplate.api.status import NodeCounts, Phase, TrainingJobStatus
from footplate.api.status import ResolvedRun as Resolved
from footplate.contract import JOB_FILE, JobConfig
from footplate.objects import OVERSIZE, TOO_DEEP, Object, block, is_controlled_by, number, text
from footplate.podspec import build_config_map, run_name
from footplate.policy import writes
from footplate.policy.mutable import with_live_fields
from footplate.policy.plan import Observed, Plan, Refusal, Target
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, digest, encode, resolve
from footplate.policy.situation import begin_attempt, due_run, move
from footplate.policy.status import publish
from footplate.text import clean

LOOK_AGAIN_SECONDS = 30.0
"""A stalled job is looked at again though nothing was seen to change."""


def begin(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    """Resolves the job and fixes the result; or says why it can't. `status` is that of the run that is due."""
    job = observed.job
    if OVERSIZE in job:
        return _too_big(observed, status, now=now)
    reference = block(job, "spec", "runtimeRef")
    if reference and observed.runtime is None:
        kind = text(reference, "kind") or "ClusterTrainingRuntime"
        why = f"spec.runtimeRef: there is no {kind} {text(reference, 'name')!r}; the job starts once it is there"
        return stall(observed, status, Reason.RUNTIME_NOT_FOUND, why, now=now)
    if observed.runtime is not None and OVERSIZE in observed.runtime:
        why = _size(text(observed.runtime, "kind"), observed.runtime)
        return stall(observed, status, Reason.INVALID_SPEC, why, now=now)
    try:
        config = resolve(job, observed.runtime, run=due_run(job, status))
    except RuntimeRefuses as error:
        return stall(observed, status, Reason.RUNTIME_REFUSES, str(error), now=now)
    except InvalidJob as error:
        if reference:
            return stall(observed, status, Reason.INVALID_SPEC, str(error), now=now)
        return reject(observed, status, Reason.INVALID_SPEC, str(error), now=now)
    return _fix(observed, status, config, now=now)


def _too_big(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    """The operator keeps no job of any size; one that only has no room now is taken up when there is some."""
    why = _size("TrainingJob", observed.job)
    if block(observed.job, OVERSIZE).get("bytes"):
        return reject(observed, status, Reason.INVALID_SPEC, why, now=now)
    return stall(observed, status, Reason.INVALID_SPEC, why, now=now)


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


def stall(observed: Observed, status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> Plan:
    """The job waits for somebody to change something, and goes on by itself then."""
    status = move(status, Phase.PENDING, reason, clean(message), now=now)
    return publish(observed, status, now=now, stalled=True, requeue=[LOOK_AGAIN_SECONDS])


def reject(observed: Observed, status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> Plan:
    """The run ends as Failed; what its pods still do is stopped by the next look."""
    failed = move(status, Phase.FAILED, reason, clean(message), now=now)
    return publish(observed, failed.model_copy(update={"completion_time": now}), now=now)


def name_conflict(refusal: Refusal) -> str:
    """The message for an object of the operator's name that isn't its own."""
    return (
        f"{clean(refusal.message, most=512)}; nothing of it was touched. Set runPolicy.restartNonce for another run, "
        "whose objects have other names, or create the TrainingJob under another name"
    )


def own_config(observed: Observed) -> Object | None:
    """The run's ConfigMap, None where there is none that the job controls."""
    found = observed.run_config
    return found if found is not None and is_controlled_by(found, observed.job) else None


def refused_config(observed: Observed) -> Refusal | None:
    """Why the run's ConfigMap couldn't be created, None where it could or wasn't tried."""
    creates = (refusal for refusal in observed.refusals if refusal.verb == "create")
    return next((refusal for refusal in creates if refusal.kind == "ConfigMap"), None)


def config_target(config_map: Object) -> Target:
    """A ConfigMap as something to delete."""
    metadata = block(config_map, "metadata")
    return Target("ConfigMap", text(metadata, "namespace"), text(metadata, "name"), text(metadata, "uid"))


def _fix(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Plan:
    encoded, found, refused = encode(config), own_config(observed), refused_config(observed)
    if found is None:
        return _create(observed, status, build_config_map(config, encoded), refused, now=now)
    if text(block(found, "data"), JOB_FILE) != encoded:
        return Plan(delete=(config_target(found),))
    resolved = Resolved(config_map=run_name(config.metadata.name, config.run), sha256=digest(encoded))
    return _start(observed, status.model_copy(update={"resolved": resolved}), config, now=now)


def _create(
    observed: Observed, status: TrainingJobStatus, manifest: Object, refused: Refusal | None, *, now: datetime
) -> Plan:
    if refused is not None and refused.reason == "NameConflict":
        return reject(observed, status, Reason.NAME_CONFLICT, name_conflict(refused), now=now)
    failing = writes.failing((refused,) if refused is not None else (), now=now)
    if failing is None:
        return Plan(create=(manifest,))
    reason = Reason.FAILED_CREATE if failing.transient else Reason.PODS_REFUSED
    status = move(status, Phase.PENDING, reason, writes.describe(failing), now=now)
    return publish(
        observed, status, now=now, stalled=not failing.transient, create=(manifest,), requeue=[LOOK_AGAIN_SECONDS]
    )


def _start(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Plan:
    spec = with_live_fields(config.spec, observed.job, observed.runtime)
    if spec.run_policy.suspend:
        why = "created suspended; set runPolicy.suspend to false to start"
        return publish(observed, move(status, Phase.SUSPENDED, Reason.SUSPENDED, why, now=now), now=now)
    begun = begin_attempt(status, nodes=spec.nodes, now=now)
    begun = begun.model_copy(update={"nodes": NodeCounts(desired=spec.nodes)})
    why = f"0 of {spec.nodes} nodes created"
    return publish(observed, move(begun, Phase.PENDING, Reason.CREATING_PODS, why, now=now), now=now)
