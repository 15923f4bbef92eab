"""What all policies look at: the job, its resolved spec, its status and its pods, read once; and the steps that a
status may take.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from footplate.api.status import (
    MAX_ATTEMPTS_KEPT,
    MAX_TRANSITIONS_KEPT,
    Attempt,
    Phase,
    Restarts,
    TrainingJobStatus,
    Transition,
)
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import JobConfig
from footplate.objects import Object, block, text
from footplate.podspec import run_name
from footplate.policy.plan import Observed, Refusal
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason

MAX_NONCE_LENGTH = 253


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
    def job(self) -> Object:
        """The raw TrainingJob."""
        return self.observed.job

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt, ended or not; None before the first."""
        return self.status.attempts[-1] if self.status.attempts else None

    @property
    def desired(self) -> int:
        """Pods of the newest attempt's gang."""
        return gang_size(self.spec, self.attempt)

    @property
    def refusals(self) -> list[Refusal]:
        """Creates of what the job needs that fail. A scout's is no matter of the gang's."""
        stem = f"{self.config.metadata.name}-{self.config.run}-{self.status.attempt}-"
        ranks = {f"{stem}{rank}" for rank in range(self.desired)} if self.observed.refusals else ()
        creates = (refusal for refusal in self.observed.refusals if refusal.verb == "create")
        return [refusal for refusal in creates if refusal.kind != "Pod" or refusal.name in ranks]

    @property
    def between_attempts(self) -> bool:
        """True while the newest attempt has ended, or there is none yet."""
        return self.attempt is None or self.attempt.end_time is not None

    @property
    def all_created(self) -> bool:
        """True once all pods of the attempt were seen, so that one that isn't there was deleted."""
        return self.status.phase in (Phase.QUEUED, Phase.STARTING, Phase.RUNNING)


def gang_size(spec: TrainingJobSpec, attempt: Attempt | None) -> int:
    """Pods of an attempt: only an elastic job's attempts differ in it."""
    if spec.elastic is None or attempt is None or attempt.nodes is None:
        return spec.nodes
    return min(max(attempt.nodes, spec.elastic.min_nodes), spec.elastic.max_nodes)


def read_status(job: Object) -> TrainingJobStatus:
    """The status as the operator wrote it; an unreadable one counts as none."""
    raw: Mapping[str, Any] = block(job, "status")
    try:
        return TrainingJobStatus.model_validate(raw, extra="ignore")
    except ValidationError:
        return TrainingJobStatus()


def is_finished(status: TrainingJobStatus) -> bool:
    """True where nothing more happens in this run."""
    return status.phase is not None and status.phase.finished


def restart_nonce(job: Object) -> str:
    """What `runPolicy.restartNonce` says now."""
    return text(block(job, "spec", "runPolicy"), "restartNonce")[:MAX_NONCE_LENGTH]


def due_run(job: Object, status: TrainingJobStatus) -> int:
    """Number of the run that the job is in, or should be: a new `restartNonce` on a finished job asks for another."""
    if status.run is None:
        return 1
    again = is_finished(status) and restart_nonce(job) != (status.restart_nonce or "")
    return status.run + 1 if again else status.run


def run_config_name(job: Object) -> str:
    """Name of the ConfigMap of the run that the job is in, or should be."""
    return run_name(str(job["metadata"]["name"]), due_run(job, read_status(job)))


def begin_run(job: Object, status: TrainingJobStatus, *, now: datetime) -> TrainingJobStatus:
    """The status of the run that is due; only the history of phases is taken over from another run's."""
    run = due_run(job, status)
    if status.run == run:
        return status.model_copy(update={"restart_nonce": restart_nonce(job)})
    return TrainingJobStatus(
        run=run,
        restart_nonce=restart_nonce(job),
        start_time=now,
        restarts=Restarts(),
        transitions=status.transitions,
    )


def move(status: TrainingJobStatus, phase: Phase, reason: Reason, message: str, *, now: datetime) -> TrainingJobStatus:
    """The status in another phase, or in the same for another reason."""
    update: dict[str, Any] = {"phase": phase, "reason": reason, "message": message[:1024]}
    if phase != status.phase:
        passed = [*status.transitions, Transition(phase=phase, time=now)]
        update["transitions"] = passed[-MAX_TRANSITIONS_KEPT:]
    return status.model_copy(update=update)


def begin_attempt(status: TrainingJobStatus, *, nodes: int, now: datetime) -> TrainingJobStatus:
    """The status with another attempt begun: its number is taken before any pod carries it.

    Of a series of attempts that found no nodes the first is kept alone: since then the job waits.
    """
    before = status.attempts
    number = before[-1].attempt + 1 if before else 0
    if [attempt.reason for attempt in before[-2:]] == [Reason.SCHEDULING_TIMEOUT] * 2:
        before = before[:-1]
    attempts = [*before, Attempt(attempt=number, start_time=now, nodes=nodes)]
    done = {"restart_time": None, "restart_nodes": None, "scout_time": None}
    return status.model_copy(update={"attempt": number, "attempts": attempts[-MAX_ATTEMPTS_KEPT:], **done})


def end_attempt(
    status: TrainingJobStatus, reason: Reason, *, now: datetime, node: str | None = None, last_step: int | None = None
) -> TrainingJobStatus:
    """The status with its attempt ended; its running time is added to the run's."""
    if not status.attempts or status.attempts[-1].end_time is not None:
        return status
    *before, attempt = status.attempts
    ended = attempt.model_copy(update={"end_time": now, "reason": reason, "node": node, "last_step": last_step})
    active = (status.active_seconds or 0) + int(seconds_run(attempt, now=now))
    return status.model_copy(update={"attempts": [*before, ended], "active_seconds": active})


def seconds_run(attempt: Attempt, *, now: datetime) -> float:
    """Seconds for which an attempt's gang has run, or did; never negative, whatever the clocks say."""
    if attempt.running_time is None:
        return 0.0
    return max(0.0, ((attempt.end_time or now) - attempt.running_time).total_seconds())
