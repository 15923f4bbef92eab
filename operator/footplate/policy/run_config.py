"""The run's ConfigMap while the run lives: only the one whose digest is in the status counts, and it is put back where
somebody deleted it.
"""

from datetime import datetime

from footplate.api.status import TrainingJobStatus
from footplate.contract import JobConfig
from footplate.objects import block, text
from footplate.podspec import build_config_map
from footplate.policy import writes
from footplate.policy.plan import Observed, Plan, Target
from footplate.policy.pods import owned_pods
from footplate.policy.reasons import Reason
from footplate.policy.resolve import InvalidJob, RuntimeRefuses, decode, digest, encode, resolve
from footplate.policy.run import config_target, name_conflict, own_config, refused_config, reject
from footplate.policy.situation import end_attempt, is_finished
from footplate.policy.status import publish


def read(observed: Observed, status: TrainingJobStatus) -> JobConfig | None:
    """What the run was started with; None where its ConfigMap is gone or isn't the right one."""
    found = own_config(observed)
    return decode(found, sha256=status.resolved.sha256) if found is not None and status.resolved is not None else None


def go_without(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    """What is to be done where it can't be read."""
    if is_finished(status):
        return _sweep(observed, status, now=now)
    config, found, refused = _again(observed, status), own_config(observed), refused_config(observed)
    if config is None:
        return _give_up(observed, status, Reason.RUN_CONFIG_LOST, _why_lost(status), now=now)
    if found is not None:
        return Plan(delete=(config_target(found),))
    if refused is not None and refused.reason == "NameConflict":
        return _give_up(observed, status, Reason.NAME_CONFLICT, name_conflict(refused), now=now)
    create = (build_config_map(config, encode(config)),)
    if writes.failing((refused,) if refused is not None else (), now=now) is None:
        return Plan(create=create)
    return publish(observed, status, now=now, create=create)


def _again(observed: Observed, status: TrainingJobStatus) -> JobConfig | None:
    """What the run was started with, where the job and its runtime still say the same."""
    try:
        config = resolve(observed.job, observed.runtime, run=status.run or 1)
    except (InvalidJob, RuntimeRefuses):
        return None
    return config if status.resolved is not None and digest(encode(config)) == status.resolved.sha256 else None


def _give_up(observed: Observed, status: TrainingJobStatus, reason: Reason, why: str, *, now: datetime) -> Plan:
    return reject(observed, end_attempt(status, reason, now=now), reason, why, now=now)


def _why_lost(status: TrainingJobStatus) -> str:
    name = status.resolved.config_map if status.resolved is not None else ""
    return (
        f"ConfigMap {name!r}, which holds what this run was started with, is gone or was replaced, and the job or its "
        "runtime have changed since; set runPolicy.restartNonce to start a new run"
    )


def _sweep(observed: Observed, status: TrainingJobStatus, *, now: datetime) -> Plan:
    """A finished run keeps no living pod; one without its ConfigMap was being cleaned up, so the Service goes too."""
    delete = tuple(
        pod.target for pod in owned_pods(observed.pods, observed.job) if not pod.terminal and not pod.terminating
    )
    if status.resolved is not None:
        namespace = text(block(observed.job, "metadata"), "namespace")
        delete = (*delete, Target("Service", namespace, status.resolved.config_map))
    return publish(observed, status.model_copy(update={"resolved": None}), now=now, delete=delete)
