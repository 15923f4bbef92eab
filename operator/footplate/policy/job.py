"""What all policies look at: the job, its resolved spec, its status and its pods, read once; and the steps that a
status may take.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ValidationError

from footplate.api.errors import Problem
from footplate.api.status import (
    MAX_ATTEMPTS_KEPT,
    MAX_TRANSITIONS_KEPT,
    Attempt,
    Phase,
    TrainingJobStatus,
    Transition,
)
from footplate.api.trainingjob import TrainingJobSpec
from footplate.attempt_spec import is_supervised
from footplate.contract import UID_DIGITS, JobConfig
from footplate.errors import Terminal
from footplate.objects import Object, block, blocks, number, text, uid_of
from footplate.podspec import mounted_objects
from footplate.policy.conditions import phase_of
from footplate.policy.data_stage import is_due, is_preparing
from footplate.policy.facts import parse_ranks
from footplate.policy.plan import Observed, Refusal, Step
from footplate.policy.pods import Gang
from footplate.policy.reasons import Reason
from footplate.text import clean

LOOK_AGAIN_SECONDS = 30.0
"""A job that waits for its user is looked at again though nothing was seen to change."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job at one moment."""

    observed: Observed
    now: datetime
    status: TrainingJobStatus
    config: JobConfig
    spec: TrainingJobSpec
    """The resolved spec, with what the user has changed on the living job."""
    gang: Gang
    refused_edits: Sequence[Problem] = ()
    """What the user has changed on the living job, and doesn't count."""

    @property
    def raw(self) -> Object:
        """The raw TrainingJob."""
        return self.observed.job

    @property
    def run_name(self) -> str:
        """Name of the run's ConfigMap and Service, as they were created: an older operator gave other names."""
        return text(block(self.observed.run_config, "metadata"), "name")

    @property
    def attempt(self) -> Attempt | None:
        """The newest attempt, ended or not; None before the first."""
        return self.status.attempts[-1] if self.status.attempts else None

    @property
    def desired(self) -> int:
        """Pods of the newest attempt's gang."""
        return gang_size(self.spec, self.attempt)

    @property
    def mounts(self) -> list[str]:
        """What the pods' volumes need."""
        return mounted_objects(self.spec, supervised=is_supervised(self.config, self.spec))

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
    def recorded(self) -> frozenset[int]:
        """Ranks of which the API server has it that they are done: their pods may go."""
        last: Object = next(reversed(blocks(block(self.raw, "status"), "attempts")), {})
        same = self.attempt is not None and number(last, "attempt") == self.attempt.attempt
        return parse_ranks(text(last, "succeededRanks"), nodes=self.desired) if same else frozenset()


def gang_size(spec: TrainingJobSpec, attempt: Attempt | None) -> int:
    """Pods of an attempt: those of an elastic job differ in it, and one that prepares data has one."""
    if is_preparing(attempt):
        return 1
    if spec.elastic is None or attempt is None or attempt.nodes is None:
        return spec.nodes
    return min(max(attempt.nodes, spec.elastic.min_nodes), spec.elastic.max_nodes)


class UnknownStatus(Terminal):
    """A status that this version can't read, such as a newer operator's: nothing may be concluded from it."""


def is_copied(job: Object) -> bool:
    """True where the status is another TrainingJob's: of one that a backup was taken of, or that was moved here. A
    status says whose it is; an older operator's does by its ConfigMap's name.
    """
    uid, status = uid_of(job), block(job, "status")
    said = text(status, "uid")
    if said or not uid:
        return bool(said) and said != uid
    name = re.escape(text(block(job, "metadata"), "name"))
    whose = re.fullmatch(rf"{name}-run-\d+-(.{{{UID_DIGITS}}})", text(block(status, "resolved"), "configMap"))
    return whose is not None and whose[1] != uid[:UID_DIGITS]


def without_copied_status(job: Object) -> Object:
    """The job as the operator sees it: nothing is believed of a status that isn't its own, so that it is a new job."""
    return {key: value for key, value in job.items() if key != "status"} if is_copied(job) else job


def read_status(job: Object) -> TrainingJobStatus:
    """The status as the operator wrote it, in the phase that its conditions say; another job's counts as none.

    Raises:
        UnknownStatus: there is one, and it isn't understood. Only an absent one counts as none.
    """
    raw = without_copied_status(job).get("status") or {}
    try:
        status = TrainingJobStatus.model_validate(raw, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in ("status", *first["loc"]))
        raise UnknownStatus(f"{where} = {clean(repr(first['input']), most=128)}: {first['msg']}") from error
    return status.model_copy(update={"phase": phase_of(status)})


def is_finished(status: TrainingJobStatus) -> bool:
    """True where nothing more happens in this run."""
    return status.phase is not None and status.phase.finished


def move(status: TrainingJobStatus, phase: Phase, reason: Reason, message: str, *, now: datetime) -> TrainingJobStatus:
    """The status in another phase, or in the same for another reason."""
    update: dict[str, Any] = {"phase": phase, "reason": reason, "message": message[:1024]}
    if phase != status.phase:
        passed = [*status.transitions, Transition(phase=phase, time=now)]
        update["transitions"] = passed[-MAX_TRANSITIONS_KEPT:]
    return status.model_copy(update=update)


def wait_for_user(status: TrainingJobStatus, reason: Reason, message: str, *, now: datetime) -> Step:
    """The job waits for somebody to change something, and goes on by itself then."""
    status = move(status, Phase.PENDING, reason, clean(message), now=now)
    return Step(status, stalled=True, requeue=(LOOK_AGAIN_SECONDS,))


def with_attempt_begun(
    status: TrainingJobStatus, spec: TrainingJobSpec, *, nodes: int, gang: str | None, now: datetime
) -> TrainingJobStatus:
    """The status with another attempt begun: its number, whose gang it is, and whether it prepares the data or trains,
    stand before any pod carries them.

    Of a series of attempts that found no nodes the first is kept alone: since then the job waits.
    """
    before = [attempt.model_copy(update={"succeeded_ranks": None}) for attempt in status.attempts]
    following = before[-1].attempt + 1 if before else 0
    if [attempt.reason for attempt in before[-2:]] == [Reason.SCHEDULING_TIMEOUT] * 2:
        before = before[:-1]
    stage: Literal["data"] | None = "data" if is_due(spec, status) else None
    attempts = [*before, Attempt(attempt=following, start_time=now, nodes=nodes, gang=gang, stage=stage)]
    trouble = status.trouble and status.trouble.model_copy(update={"since": None})
    done = {"restart_time": None, "restart_nodes": None, "scout_time": None, "trouble": trouble}
    return status.model_copy(update={"attempt": following, "attempts": attempts[-MAX_ATTEMPTS_KEPT:], **done})


def with_attempt_ended(
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
