"""What all policies look at: the job, its resolved spec, its status and its pods, read once."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from footplate.api.status import (
    MAX_ATTEMPTS_KEPT,
    MAX_TRANSITIONS_KEPT,
    Attempt,
    Phase,
    TrainingJobStatus,
    Transition,
)
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import JobConfig
from footplate.policy.plan import Manifest, Observed
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason


@dataclass(frozen=True, slots=True)
class Situation:
    """One job at one moment."""

    observed: Observed
    now: datetime
    status: TrainingJobStatus
    config: JobConfig
    spec: TrainingJobSpec
    """The resolved spec, with what the user has changed on the living job."""
    gang: Gang

    @property
    def job(self) -> Manifest:
        """The raw TrainingJob."""
        return self.observed.job

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt, ended or not; None before the first."""
        return self.status.attempts[-1] if self.status.attempts else None

    @property
    def desired(self) -> int:
        """Pods of the current attempt's gang."""
        return (self.attempt.nodes if self.attempt else None) or self.spec.nodes

    @property
    def between_attempts(self) -> bool:
        """True while the newest attempt has ended, or there is none yet."""
        return self.attempt is None or self.attempt.end_time is not None

    @property
    def all_created(self) -> bool:
        """True once all pods of the attempt were seen, so that one that isn't there was deleted."""
        return self.status.phase in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING)


def read_status(job: Manifest) -> TrainingJobStatus:
    """The status as the operator wrote it; an unreadable one counts as none."""
    raw: Mapping[str, Any] = job.get("status") or {}
    try:
        return TrainingJobStatus.model_validate(raw, extra="ignore")
    except ValidationError:
        return TrainingJobStatus()


def due_run(job: Manifest, status: TrainingJobStatus) -> int:
    """Number of the run that the job is in, or should be: a new `restartNonce` on a finished job asks for another."""
    if status.run is None:
        return 1
    nonce = ((job.get("spec") or {}).get("runPolicy") or {}).get("restartNonce") or ""
    again = status.phase is not None and status.phase.finished and nonce != (status.restart_nonce or "")
    return status.run + 1 if again else status.run


def run_name(job_name: str, run: int) -> str:
    """Name of a run's ConfigMap and of its Service."""
    return f"{job_name}-run-{run}"


def run_config_name(job: Manifest) -> str:
    """Name of the ConfigMap of the run that the job is in, or should be."""
    return run_name(str(job["metadata"]["name"]), due_run(job, read_status(job)))


def move(status: TrainingJobStatus, phase: Phase, reason: Reason, message: str, *, now: datetime) -> TrainingJobStatus:
    """The status in another phase, or in the same for another reason."""
    update: dict[str, Any] = {"phase": phase, "reason": reason, "message": message[:1024]}
    if phase != status.phase:
        passed = [*status.transitions, Transition(phase=phase, time=now)]
        update["transitions"] = passed[-MAX_TRANSITIONS_KEPT:]
    return status.model_copy(update=update)


def begin_attempt(status: TrainingJobStatus, *, nodes: int, now: datetime) -> TrainingJobStatus:
    """The status with another attempt begun: its number is taken before any pod carries it."""
    number = status.attempts[-1].attempt + 1 if status.attempts else 0
    attempts = [*status.attempts, Attempt(attempt=number, start_time=now, nodes=nodes)]
    return status.model_copy(
        update={"attempt": number, "attempts": attempts[-MAX_ATTEMPTS_KEPT:], "restart_time": None}
    )


def end_attempt(
    status: TrainingJobStatus, reason: Reason, *, now: datetime, node: str | None = None, last_step: int | None = None
) -> TrainingJobStatus:
    """The status with its attempt ended; its running time is added to the run's."""
    if not status.attempts or status.attempts[-1].end_time is not None:
        return status
    *before, attempt = status.attempts
    ran = now - attempt.running_time if attempt.running_time else timedelta()
    ended = attempt.model_copy(update={"end_time": now, "reason": reason, "node": node, "last_step": last_step})
    return status.model_copy(
        update={
            "attempts": [*before, ended],
            "active_seconds": (status.active_seconds or 0) + int(ran.total_seconds()),
        }
    )
