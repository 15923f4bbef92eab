"""The run's ConfigMap while the run lives: only the one whose digest is in the status counts, and it is put back where
somebody deleted it.
"""

from datetime import datetime

from footplate.api.status import Phase, TrainingJobStatus
from footplate.contract import JobConfig
from footplate.objects import Object, block, is_controlled_by, number, text
from footplate.podspec import build_config_map
from footplate.policy import boundary, clean_pods, refusal
from footplate.policy.end import with_run_failed
from footplate.policy.job import is_finished, move, with_attempt_ended
from footplate.policy.plan import Observed, Refusal, Step, Target
from footplate.policy.pods import owned_pods
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, decode, digest, encode, resolve

_AT_REST = (Phase.SUSPENDING, Phase.SUSPENDED, Phase.RESTARTING)
"""Phases whose reason and message no later look would put right: that a create fails is told by the condition alone."""


def read(observed: Observed, status: TrainingJobStatus) -> JobConfig | None:
    """What the run was started with; None where its ConfigMap is gone or isn't the right one."""
    found = own_config(observed)
    return decode(found, sha256=status.resolved.sha256) if found is not None and status.resolved is not None else None


def own_config(observed: Observed) -> Object | None:
    """The run's ConfigMap, None where there is none that the job controls."""
    found = observed.run_config
    return found if found is not None and is_controlled_by(found, observed.job) else None


def resolve_within(observed: Observed, *, run: int) -> JobConfig:
    """The job over its runtime, with what the policies of its namespace say to the trainer; raises as `resolve`."""
    config = resolve(observed.job, observed.runtime, run=run)
    return config.model_copy(update={"pip": boundary.packages_of(observed, config.pip)})


def refused_config(observed: Observed) -> Refusal | None:
    """Why the run's ConfigMap couldn't be created, None where it could or wasn't tried."""
    creates = (each for each in observed.refusals if each.verb == "create")
    return next((each for each in creates if each.kind == "ConfigMap"), None)


def config_target(config_map: Object) -> Target:
    """A ConfigMap as something to delete."""
    metadata = block(config_map, "metadata")
    return Target("ConfigMap", text(metadata, "namespace"), text(metadata, "name"), text(metadata, "uid"))


def go_without(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Step:
    """What is to be done where it can't be read."""
    if is_finished(status):
        return _sweep(observed, status, now=now)
    config, found, refused = _again(observed, status), own_config(observed), refused_config(observed)
    if config is None or status.resolved is None:
        return _end_run(status, Reason.RUN_CONFIG_LOST, _why_lost(status), now=now)
    if found is not None:
        return Step(delete=(config_target(found),))
    create = (build_config_map(config, encode(config), name=status.resolved.config_map),)
    failing = refusal.failing((refused,) if refused is not None else (), now=now)
    if failing is None:
        return Step(create=create)
    final = refusal.final([failing], has_run=True)
    if final is not None:
        return _end_run(status, *final, now=now)
    if status.phase in _AT_REST:
        return Step(status, create=create)
    reason = refusal.waits_as(failing)
    told = move(status, status.phase or Phase.PENDING, reason, refusal.describe(failing), now=now)
    return Step(told, create=create)


def _again(observed: Observed, status: TrainingJobStatus) -> JobConfig | None:
    """What the run was started with, where the job and its runtime still say the same."""
    try:
        config = resolve_within(observed, run=status.run or 1)
    except (InvalidJob, RuntimeRefuses):
        return None
    return config if status.resolved is not None and digest(encode(config)) == status.resolved.sha256 else None


def _end_run(status: TrainingJobStatus, reason: Reason, why: str, *, now: datetime) -> Step:
    return Step(with_run_failed(with_attempt_ended(status, reason, now=now), reason, why, now=now))


def _why_lost(status: TrainingJobStatus) -> str:
    name = status.resolved.config_map if status.resolved is not None else ""
    return (
        f"ConfigMap {name!r}, which holds what this run was started with, is gone or was replaced, and the job or its "
        "runtime have changed since; set runPolicy.restartNonce to start a new run"
    )


def _sweep(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Step:
    """A finished run keeps no living pod; one without its ConfigMap was being cleaned up, so the Service goes too.
    Runs that never had one, as their spec was invalid, end here as well.
    """
    policy = _run_policy(observed)
    left = clean_pods.seconds_to_live(status, _seconds(policy, "ttlSecondsAfterFinished"), now=now)
    if left is not None and left <= 0 and policy.get("ttlKeepsJob") is not True:
        return Step(delete=(clean_pods.whole_job(observed.job),))
    delete = tuple(
        pod.target for pod in owned_pods(observed.pods, observed.job) if not pod.terminal and not pod.terminating
    )
    if status.resolved is not None:
        namespace = text(block(observed.job, "metadata"), "namespace")
        delete = (*delete, Target("Service", namespace, status.resolved.config_map))
    return Step(status.model_copy(update={"resolved": None}), delete=delete, requeue=(left,))


def _run_policy(observed: Observed) -> Object:
    """The run policy as job and runtime have it now, unchecked."""
    theirs, own = (block(each, "spec", "runPolicy") for each in (observed.runtime, observed.job))
    return {**theirs, **{key: value for key, value in own.items() if value is not None}}


def _seconds(policy: Object, field: str) -> int | None:
    seconds = number(policy, field)
    return seconds if seconds is not None and seconds >= 0 else None
