"""What a user should hear of a job besides its changes of phase: one event for each thing that is new in its status.

Pure from the status before and after, so an event is said when, and only when, its status is written.
"""

import math
from collections.abc import Iterator

from footplate.api.reports import Straggler
from footplate.api.scalars import format_time
from footplate.api.status import Attempt, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import GRACE_FACTOR, working_grace
from footplate.policy import budget
from footplate.policy.measures import has_stepped
from footplate.policy.plan import Event
from footplate.policy.pod import Pod
from footplate.policy.progress import places
from footplate.policy.reasons import Reason
from footplate.text import clean


def news(*, before: TrainingJobStatus, after: TrainingJobStatus | None, spec: TrainingJobSpec) -> Iterator[Event]:
    """An event for each thing that `after` has and `before` didn't."""
    if after is not None:
        yield from _milestones(before, after)
        yield from _notes(before, after)
        yield from _stragglers(before, after)
        yield from _short_grace(before, after, spec)
        yield from _budget(before, after, spec)
        yield from _idle(before, after)


def sidecar(pod: Pod) -> Event:
    """Why a pod is deleted although something in it runs."""
    names = clean(", ".join(pod.still_running), most=253)
    which = f"its container {names} runs on" if names else "it doesn't end"
    message = (
        f"pod {pod.name}: the trainer has ended with exit code {pod.exit_code}, but {which} and holds what the pod "
        "asks for; the pod is deleted. Whoever adds containers to pods can make them native sidecars (init containers "
        "with restartPolicy: Always), which end with the trainer; or keep them away by podTemplate.annotations"
    )
    return Event("Normal", Reason.SIDECAR, message, "Stop")


def _milestones(before: TrainingJobStatus, after: TrainingJobStatus) -> Iterator[Event]:
    """What the story of a run is made of, where all is well."""
    said = (
        (Reason.RESUMED_FROM, _resumed(before, after), "Resume"),
        (Reason.FIRST_STEP, _first_step(before, after), "Train"),
        (Reason.CHECKPOINT_SAVED, _checkpoint(before, after), "Checkpoint"),
        (Reason.MODEL_VERIFIED, _model(before, after), "Verify"),
    )
    for reason, message, action in said:
        if message:
            yield Event("Normal", reason, clean(message), action)


def _resumed(before: TrainingJobStatus, after: TrainingJobStatus) -> str:
    known = {attempt.attempt: attempt.resumed_from_step for attempt in before.attempts}
    *earlier, last = after.attempts or [Attempt(attempt=0)]
    if not last.resumed_from_step or known.get(last.attempt) is not None:
        return ""
    undone = max((attempt.last_step or 0 for attempt in earlier), default=0) - last.resumed_from_step
    again = f"; {undone:,} step{'s' * (undone > 1)} after it must be done again" if undone > 0 else ""
    return f"attempt {last.attempt} resumed from step {last.resumed_from_step:,}{again}"


def _first_step(before: TrainingJobStatus, after: TrainingJobStatus) -> str:
    if has_stepped(before) or not has_stepped(after) or after.progress is None or after.progress.step is None:
        return ""
    of = f" of {after.progress.total_steps:,}" if after.progress.total_steps is not None else ""
    left = f", about {after.progress.eta} left" if after.progress.eta is not None else ""
    return f"training makes its first steps: step {after.progress.step:,}{of} is done{left}"


def _checkpoint(before: TrainingJobStatus, after: TrainingJobStatus) -> str:
    """Of the first checkpoint, then of the first in each quarter of training; where nobody knows how long that is, of
    each that has doubled the steps.
    """
    checkpoint, old = after.checkpoint, before.checkpoint
    resumed = {attempt.resumed_from_step for attempt in after.attempts} - {None}
    if checkpoint is None or (checkpoint.step in resumed):
        return ""
    total = after.progress.total_steps if after.progress is not None else None
    if old is not None and _mark(checkpoint.step, total) <= _mark(old.step, total):
        return ""
    what = f"checkpoint of step {checkpoint.step:,}" if checkpoint.step is not None else "snapshot"
    took = f" in {checkpoint.save_seconds:.1f} s" if checkpoint.save_seconds is not None else ""
    return f"a {what} was saved{took}: {checkpoint.uri}"


def _mark(step: int | None, total: int | None) -> int:
    if step is None:
        return 0
    return 4 * step // total if total else step.bit_length()


def _model(before: TrainingJobStatus, after: TrainingJobStatus) -> str:
    artifact = after.artifact
    if artifact is None or before.artifact is not None:
        return ""
    but = ", but it isn't accepted" if artifact.accepted is False else ""
    return f"the model is stored and verified{but}: {artifact.uri} ({artifact.size_bytes:,} bytes)"


def _notes(before: TrainingJobStatus, after: TrainingJobStatus) -> Iterator[Event]:
    for note in after.notes:
        if note not in before.notes:
            yield Event("Warning", Reason.TRAINER_NOTE, note, "Train")


def _stragglers(before: TrainingJobStatus, after: TrainingJobStatus) -> Iterator[Event]:
    known = places(before.stragglers)
    for straggler in after.stragglers:
        if (straggler.rank, straggler.node) not in known:
            yield Event("Warning", Reason.STRAGGLER, clean(_slow(straggler)), "Train")


def _slow(straggler: Straggler) -> str:
    node = straggler.node
    return (
        f"rank {straggler.rank} on node {node} holds the others up: its own work on a step takes "
        f"{straggler.factor:.1f} times what the median rank's takes. Look at the node's accelerators, CPU and disk; to "
        "leave it, run "
        f"`kubectl cordon {node}`, set runPolicy.suspend to true, and to false again: the job goes on from that step"
    )


def _short_grace(before: TrainingJobStatus, after: TrainingJobStatus, spec: TrainingJobSpec) -> Iterator[Event]:
    grace = spec.run_policy.termination_grace_period_seconds
    left = working_grace(grace)
    if _needed(before) <= left < _needed(after) and after.checkpoint is not None:
        took = after.checkpoint.save_seconds or 0.0
        message = (
            f"runPolicy.terminationGracePeriodSeconds is {grace} s, which leaves {left:.0f} s for a last checkpoint, "
            f"but the newest took {took:.0f} s to save, and a stop asks for {GRACE_FACTOR} times that: a job that is "
            "preempted or suspended goes back to the checkpoint before. Create it anew with at least "
            f"{_enough(_needed(after))} s; until then checkpoint.every bounds what is lost"
        )
        yield Event("Warning", Reason.GRACE_TOO_SHORT, message, "Checkpoint")


def _needed(status: TrainingJobStatus) -> float:
    """Seconds that a stop needs for a last checkpoint, as far as is known."""
    checkpoint = status.checkpoint
    return GRACE_FACTOR * (checkpoint.save_seconds or 0.0) if checkpoint is not None else 0.0


def _enough(needed: float) -> int:
    """The shortest grace, in whole seconds, that leaves so much."""
    seconds = math.ceil(needed)
    while working_grace(seconds) < needed:
        seconds += 1
    return seconds


def _budget(before: TrainingJobStatus, after: TrainingJobStatus, spec: TrainingJobSpec) -> Iterator[Event]:
    """Of a budget that is spent within one look, too: who is told of the end alone looks for a warning."""
    limit = spec.run_policy.budget
    if limit is None or after.usage is None or before.run != after.run:
        return
    if after.phase is not None and after.phase.finished:
        return
    if budget.share(limit, before.usage) < budget.WARN_AT <= budget.share(limit, after.usage):
        message = (
            f"the run has spent {budget.describe(limit, after.usage)}; when it is spent, the gang is stopped after a "
            "checkpoint, and goes on from it once the budget is raised"
        )
        yield Event("Warning", Reason.BUDGET_NEARLY_SPENT, message, "Train")


def _idle(before: TrainingJobStatus, after: TrainingJobStatus) -> Iterator[Event]:
    if after.idle_since is not None and before.idle_since is None:
        message = (
            f"since {format_time(after.idle_since)} no step was made, and no accelerator of node 0 has worked: look at "
            "its log, or give the accelerators back by runPolicy.suspend"
        )
        yield Event("Warning", Reason.IDLE, message, "Train")
