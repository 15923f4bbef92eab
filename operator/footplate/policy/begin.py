"""The beginning of a run: the merged job is fixed in the run's ConfigMap before anything else is created.

The ConfigMap is taken as the run's only if it says what the job and its runtime say now; from then on its digest is in
the status. Neither a crash in between nor a ConfigMap that somebody else put there changes what runs.
"""

from datetime import datetime

from footplate.api.status import NodeCounts, Phase, Restarts, TrainingJobStatus
from footplate.api.status import ResolvedRun as Resolved
from footplate.contract import JOB_FILE, JobConfig
from footplate.podspec import build_config_map
from footplate.policy.failure import clean
from footplate.policy.plan import Observed, Plan, Target
from footplate.policy.pods import controller_uid
from footplate.policy.publish import publish
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, digest, encode, resolve
from footplate.policy.situation import begin_attempt, due_run, move, run_name

LOOK_AGAIN_SECONDS = 30.0
"""A stalled job is looked at again though nothing was seen to change."""


def begin_run(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    """Resolves the job and fixes the result; or says why it can't."""
    job = observed.job
    run = due_run(job, status)
    reference = (job.get("spec") or {}).get("runtimeRef")
    if reference and observed.runtime is None:
        kind, name = reference.get("kind", "ClusterTrainingRuntime"), reference.get("name")
        text = (
            f"spec.runtimeRef: there is no {kind} {name!r}; create it or name another. The job starts once it is there"
        )
        return stall(observed, status, Reason.RUNTIME_NOT_FOUND, text, now=now)
    try:
        config = resolve(job, observed.runtime, run=run)
    except RuntimeRefuses as error:
        return stall(observed, status, Reason.RUNTIME_REFUSES, str(error), now=now)
    except InvalidJob as error:
        if reference:
            return stall(observed, status, Reason.INVALID_SPEC, str(error), now=now)
        return reject(observed, _new_run(observed, status, run=run, now=now), Reason.INVALID_SPEC, str(error), now=now)
    return _fix(observed, status, config, now=now)


def stall(observed: Observed, status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> Plan:
    """The job waits for somebody to change something, and goes on by itself then."""
    status = move(status, Phase.PENDING, reason, clean(message), now=now)
    return publish(observed, status, now=now, stalled=True, requeue=[LOOK_AGAIN_SECONDS])


def reject(observed: Observed, status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> Plan:
    """The run ends as Failed; what its pods still do is stopped by the next look."""
    failed = move(status, Phase.FAILED, reason, clean(message), now=now)
    return publish(observed, failed.model_copy(update={"completion_time": now}), now=now)


def _fix(observed: Observed, status: TrainingJobStatus, config: JobConfig, *, now: datetime) -> Plan:
    text = encode(config)
    found = observed.run_config
    refused = next(iter(observed.refusals), None)
    if found is None and refused is None:
        return Plan(create=(build_config_map(config, text),))
    if found is None and refused is not None and refused.reason != "NameConflict":
        why = f"{refused.kind} {refused.name} was refused: {refused.message}"
        return stall(observed, status, Reason.PODS_REFUSED, why, now=now)
    metadata = (found or {}).get("metadata") or {}
    if found is None or controller_uid(found) != config.metadata.uid:
        fresh = _new_run(observed, status, run=config.run, now=now)
        why = name_conflict("ConfigMap", run_name(config.metadata.name, config.run))
        return reject(observed, fresh, Reason.NAME_CONFLICT, why, now=now)
    if (found.get("data") or {}).get(JOB_FILE) != text:
        stale = Target("ConfigMap", config.metadata.namespace, metadata.get("name", ""), metadata.get("uid", ""))
        return Plan(delete=(stale,), requeue_after=1.0)
    begun = _new_run(observed, status, run=config.run, now=now)
    resolved = Resolved(config_map=run_name(config.metadata.name, config.run), sha256=digest(text))
    begun = begun.model_copy(update={"resolved": resolved})
    if config.spec.run_policy.suspend:
        text = "created suspended; set runPolicy.suspend to false to start"
        return publish(observed, move(begun, Phase.SUSPENDED, Reason.SUSPENDED, text, now=now), now=now)
    nodes = config.spec.nodes
    begun = begin_attempt(begun, nodes=nodes, now=now).model_copy(
        update={"nodes": NodeCounts(desired=nodes, summary=f"0/{nodes}")}
    )
    moved = move(begun, Phase.PENDING, Reason.CREATING_PODS, f"0 of {nodes} nodes created", now=now)
    return publish(observed, moved, now=now)


def name_conflict(kind: str, name: object) -> str:
    """The message for an object of the operator's name that isn't its own."""
    return (
        f"{kind} {name!r} exists and isn't this job's; nothing was touched. "
        "Delete or rename it, or give the TrainingJob another name, then set runPolicy.restartNonce"
    )


def _new_run(observed: Observed, status: TrainingJobStatus, *, run: int, now: datetime) -> TrainingJobStatus:
    """A fresh status for a run; only the history of phases is taken over."""
    nonce = ((observed.job.get("spec") or {}).get("runPolicy") or {}).get("restartNonce") or ""
    return TrainingJobStatus(
        run=run, restart_nonce=nonce, start_time=now, restarts=Restarts(), transitions=status.transitions
    )
