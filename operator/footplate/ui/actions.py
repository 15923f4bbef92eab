"""What may be done to a job from the page, when, and what the user is asked before. The client does it."""

from collections.abc import Callable
from dataclasses import dataclass

from footplate.api.status import Phase
from footplate.client import Job

SUSPENDED = frozenset({Phase.SUSPENDED, Phase.SUSPENDING})
FINISHED = frozenset({Phase.SUCCEEDED, Phase.FAILED})
ALIVE = frozenset(Phase) - FINISHED


@dataclass(frozen=True, slots=True)
class Action:
    """`phases`: those in which it means something; a job that nobody has looked at yet counts as Pending."""

    name: str
    label: str
    question: str
    effect: str
    done: str
    phases: frozenset[Phase]
    act: Callable[[Job], object]
    dangerous: bool = False
    ends_job: bool = False
    """Whether there is no page of the job any more afterwards."""

    def applies_to(self, job: Job) -> bool:
        """Whether it means something now."""
        return Phase(job.phase or Phase.PENDING) in self.phases


ACTIONS = {
    action.name: action
    for action in (
        Action(
            "suspend",
            "Suspend",
            "Suspend this job?",
            "The gang saves a checkpoint and stops; its nodes are free for others. Resume goes on from there.",
            "Asked to suspend. It stops after a checkpoint.",
            ALIVE - SUSPENDED,
            lambda job: job.suspend(),
        ),
        Action(
            "resume",
            "Resume",
            "Resume this job?",
            "A new gang starts from the newest checkpoint, once there is room for it.",
            "Asked to resume.",
            SUSPENDED,
            lambda job: job.resume(),
        ),
        Action(
            "restart",
            "Restart",
            "Start a new run of this job?",
            "What the finished run has saved stays. The new one starts from the newest checkpoint, unless "
            "checkpoint.resume says otherwise.",
            "Asked for a new run.",
            FINISHED,
            lambda job: job.restart(),
        ),
        Action(
            "cancel",
            "Cancel",
            "Cancel this job for good?",
            "Its TrainingJob is deleted with its pods. What it has saved in storage stays. To give the nodes back and "
            "keep the record, suspend it instead.",
            "Cancelled.",
            ALIVE,
            lambda job: job.cancel(),
            dangerous=True,
            ends_job=True,
        ),
    )
}
