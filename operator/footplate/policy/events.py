"""What a user should hear of a job besides its changes of phase: one event for each thing that is new in its status.

Pure from the status before and after, so an event is said when, and only when, its status is written.
"""

import math
from collections.abc import Iterator

from footplate.api.status import Straggler, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import GRACE_FACTOR, working_grace
from footplate.policy.plan import Event
from footplate.policy.pod import Pod
from footplate.policy.progress import places
from footplate.policy.reasons import Reason
from footplate.text import clean


def news(*, before: TrainingJobStatus, after: TrainingJobStatus | None, spec: TrainingJobSpec) -> Iterator[Event]:
    """An event for each thing that `after` has and `before` didn't."""
    if after is not None:
        yield from _notes(before, after)
        yield from _stragglers(before, after)
        yield from _short_grace(before, after, spec)


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
