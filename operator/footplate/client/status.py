"""How a job's status is read by somebody who only looks at it: what isn't understood is left out. Pure."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from footplate.api.reports import ArtifactStatus, GateStatus
from footplate.api.status import Phase, TrainingJobStatus, Transition
from footplate.objects import Object, block, number, text

_PHASES = {str(phase): phase for phase in Phase}


def read_status(job: Object) -> TrainingJobStatus:
    """The status as far as it is understood: a field with another version's words, or somebody else's, is absent."""
    raw: dict[str, Any] = {**block(job, "status")}
    while True:
        try:
            return TrainingJobStatus.model_validate(raw, extra="ignore")
        except ValidationError as error:
            strange = {str(each["loc"][0]) for each in error.errors(include_url=False) if each["loc"]}
            if not strange & raw.keys():
                return TrainingJobStatus()
            raw = {name: value for name, value in raw.items() if name not in strange}


def read_phase(job: Object) -> Phase | None:
    """The phase alone, which is much faster; None where there is none, or none that is known."""
    phase = text(block(job, "status"), "phase")
    return _PHASES.get(phase)


def phases_of_run(status: TrainingJobStatus) -> list[Transition]:
    """The changes of phase of the present run, as far as the status keeps them: it keeps those of runs before, too."""
    ends = [place for place, each in enumerate(status.transitions[:-1], start=1) if each.phase.finished]
    return status.transitions[ends[-1] :] if ends else list(status.transitions)


def is_so(job: Object, until: str) -> bool:
    """Whether a condition of this name is true, or the phase is this, for the job's spec as it is now."""
    status = read_status(job)
    generation = number(block(job, "metadata"), "generation") or 0
    if status.observed_generation < generation:
        return False
    holds = any(each.type == until and each.status == "True" for each in status.conditions)
    return holds or status.phase == until


def model_in_words(artifact: ArtifactStatus) -> str:
    """Which state of the training the model is, and why that has ended: `of epoch 9, ended by earlyStopping`; empty
    where its code tells neither.
    """
    epoch = "" if artifact.epoch is None else f"of epoch {artifact.epoch:,}"
    ended = "all epochs trained" if artifact.ended == "epochs" else artifact.ended and f"ended by {artifact.ended}"
    return ", ".join(filter(None, (epoch, ended)))


def verdict_in_words(gates: Sequence[GateStatus]) -> str:
    """Whether the model is accepted: `Not accepted: 1 of 3 gates is not passed`; empty without gates."""
    failed, of = sum(not gate.passed for gate in gates), len(gates)
    if not failed:
        return "" if not of else f"Accepted: {'its gate is' if of == 1 else f'all {of:,} gates are'} passed"
    missed = "its gate is" if of == 1 else f"{failed:,} of {of:,} gates {'is' if failed == 1 else 'are'}"
    return f"Not accepted: {missed} not passed"
