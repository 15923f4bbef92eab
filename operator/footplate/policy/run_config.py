"""The run's ConfigMap while the run lives: only the one whose digest is in the status counts, and it is put back where
somebody deleted it.
"""

from dataclasses import replace
from datetime import datetime

from footplate.api.status import TrainingJobStatus
from footplate.contract import JobConfig
from footplate.objects import Object, block, is_controlled_by, number, text
from footplate.podspec import build_config_map
from footplate.policy import boundary, clean_pods
from footplate.policy.data_stage import fits_in_gang
from footplate.policy.end import with_run_failed
from footplate.policy.job import with_attempt_ended
from footplate.policy.plan import Doubt, Observed, Refusal, Step, Target
from footplate.policy.pods import owned_pods
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, decode, digest, encode, resolve


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
    config = resolve(observed.job, observed.runtime, run=run, accelerators=observed.accelerators)
    in_gang = fits_in_gang(config.spec, boundary.data_pod_above(observed)) or None
    return config.model_copy(update={"pip": boundary.packages_of(observed, config.pip), "data_in_gang": in_gang})


def refused_config(observed: Observed) -> Refusal | None:
    """Why the run's ConfigMap couldn't be created, None where it could or wasn't tried."""
    creates = (each for each in observed.refusals if each.verb == "create")
    return next((each for each in creates if each.kind == "ConfigMap"), None)


def config_target(config_map: Object) -> Target:
    """A ConfigMap as something to delete."""
    metadata = block(config_map, "metadata")
    return Target("ConfigMap", text(metadata, "namespace"), text(metadata, "name"), text(metadata, "uid"))


def made_again(observed: Observed, status: TrainingJobStatus) -> tuple[JobConfig, Object] | None:
    """What the run was started with and its ConfigMap, where the job and its runtime still say the same."""
    try:
        config = resolve_within(observed, run=status.run or 1)
    except (InvalidJob, RuntimeRefuses):
        return None
    encoded = encode(config)
    if status.resolved is None or digest(encoded) != status.resolved.sha256:
        return None
    return config, build_config_map(config, encoded, name=status.resolved.config_map, labels=observed.labels)


def put_back(observed: Observed, step: Step, config_map: Object) -> Step:
    """The step, and the run's ConfigMap again. It is decided of the run as ever: whoever keeps the ConfigMap from being
    created, as by a full quota, keeps no gang. No pod is made beside one that isn't right, which goes first; and of a
    job that was deleted unseen the ConfigMap has gone with it.
    """
    found = own_config(observed)
    if found is not None:
        return replace(step, create=(), delete=(*step.delete, config_target(found)))
    doubt = Doubt("TrainingJob", text(block(observed.job, "metadata"), "name"))
    return replace(step, create=(config_map, *step.create), doubts=(*step.doubts, doubt))


def end_without(status: TrainingJobStatus, *, now: datetime) -> Step:
    """The end of a run of which nobody knows any more what it was started with."""
    ended = with_attempt_ended(status, Reason.RUN_CONFIG_LOST, now=now)
    return Step(with_run_failed(ended, Reason.RUN_CONFIG_LOST, _why_lost(status), now=now))


def _why_lost(status: TrainingJobStatus) -> str:
    name = status.resolved.config_map if status.resolved is not None else ""
    return (
        f"ConfigMap {name!r}, which holds what this run was started with, is gone or was replaced, and the job or its "
        "runtime have changed since; set runPolicy.restartNonce to start a new run"
    )


def sweep(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Step:
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
