"""TrainingJob.status: what the operator has seen and decided, and all that it must remember between two looks."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from footplate.api.reports import (
    MAX_STRAGGLERS,
    ArtifactStatus,
    CheckpointStatus,
    DataStatus,
    EvaluationStatus,
    PreflightStatus,
    ProgressStatus,
    Straggler,
    TrackedRuns,
)
from footplate.api.scalars import Count, Text, Time
from footplate.api.types import ByType, Model
from footplate.api.usage import Usage

MAX_ATTEMPTS_KEPT = 10
MAX_TRANSITIONS_KEPT = 20
MAX_UNFIT = 16
MAX_NOTES_KEPT = 8
MAX_OPERATOR = 63 + 1 + 253
"""A namespace and a name."""
MAX_RANKS_LENGTH = 32_768
"""Every other rank of ten thousand takes 25,000 characters."""
MAX_NONCES_KEPT = 100


class Phase(StrEnum):
    """Where a run is in its life."""

    PENDING = "Pending"
    QUEUED = "Queued"
    STARTING = "Starting"
    RUNNING = "Running"
    RESTARTING = "Restarting"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"

    @property
    def finished(self) -> bool:
        """True where nothing more happens without the user."""
        return self in FINISHED


FINISHED = (Phase.SUCCEEDED, Phase.FAILED)


class FailureClass(StrEnum):
    """Who pays for the end of an attempt."""

    USER = "User"
    INFRASTRUCTURE = "Infrastructure"
    HANG = "Hang"
    PERMANENT = "Permanent"


class NodeCounts(Model):
    """Pods of the current attempt, by how far they got."""

    desired: Count = Field(default=0, description="Pods the gang needs.")
    created: Count = Field(default=0, description="Pods that exist, or are done and gone.")
    scheduled: Count = Field(default=0, description="Pods that have a node, or are done and gone.")
    ready: Count = Field(default=0, description="Pods whose trainer runs.")
    succeeded: Count = Field(default=0, description="Pods whose trainer is done, also those that are gone since.")
    failed: Count = Field(default=0, description="Pods whose trainer failed.")
    summary: Annotated[str, Field(max_length=63)] = Field(
        default_factory=lambda counts: f"{counts['ready'] + counts['succeeded']}/{counts['desired']}",
        description="Pods that run or ended well, of those that the gang needs; for the printer column.",
        examples=["6/8"],
    )


class Restarts(Model):
    """Gang restarts of this run, by who paid."""

    user: Count = Field(default=0, description="Charged to the user's code.")
    infrastructure: Count = Field(default=0, description="Charged to the infrastructure.")
    hang: Count = Field(default=0, description="After a hang; counts to maxRestarts too.")
    total: Annotated[int, Field(ge=0)] = Field(
        default_factory=lambda counts: counts["user"] + counts["infrastructure"] + counts["hang"],
        description="All of them.",
    )


class Spent(Model):
    """What is spent of the budgets of a run since they were last full."""

    restarts: Count = Field(default=0, description="Of maxRestarts.")
    disruptions: Count = Field(default=0, description="Of maxDisruptions.")


class Trouble(Model):
    """Why pods can't start, and for how long that has been so."""

    reason: Annotated[str, Field(max_length=63)] = Field(description="Why, in CamelCase.")
    since: Time | None = Field(
        None, description="When it began in this attempt; absent where this attempt hasn't had any."
    )
    waited_seconds: Count = Field(
        default=0, description="Seconds of it in earlier attempts, with the pauses after them."
    )


class FailureStatus(Model):
    """The root cause of the last failure: the earliest failing rank's."""

    rank: Count | None = Field(None, description="Rank of the pod's first failing process, or the node's rank.")
    node: Annotated[str, Field(max_length=253)] | None = Field(None, description="Kubernetes node.")
    exit_code: int | None = Field(None, description="Exit code of the trainer's container.")
    signal: int | None = Field(None, description="Signal that killed it.")
    class_: Annotated[FailureClass, Field(strict=False)] = Field(
        alias="class", description="Who pays: User, Infrastructure, Hang or Permanent."
    )
    message: Text = Field(default="", description="What went wrong and what to do.")
    traceback: Annotated[str, Field(max_length=4096)] | None = Field(None, description="End of the traceback.")


class Attempt(Model):
    """One gang of a run."""

    attempt: Count = Field(description="Number, from 0.")
    start_time: Time | None = Field(None, description="When its pods were asked for.")
    created_time: Time | None = Field(None, description="When all its pods were first seen to exist.")
    running_time: Time | None = Field(None, description="When all its pods ran.")
    succeeded_ranks: Annotated[str, Field(max_length=MAX_RANKS_LENGTH)] | None = Field(
        None,
        description="Node ranks that are done, written as a Job's completedIndexes, whatever becomes of their pods; "
        "of the last attempt alone.",
        examples=["0,2-5"],
    )
    end_time: Time | None = Field(None, description="When it ended.")
    reason: Annotated[str, Field(max_length=63)] | None = Field(None, description="Why it ended.")
    node: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Kubernetes node that was the cause; the next attempts avoid it for an hour."
    )
    unfit_nodes: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=MAX_UNFIT)] | None = Field(
        None, description="Kubernetes nodes that fell short in preflight; the next attempts avoid them for an hour."
    )
    nodes: Count | None = Field(None, description="Pods of this attempt's gang.")
    gang: Annotated[str, Field(max_length=63)] | None = Field(
        None,
        description="Who starts its pods together: kueue, coscheduling, volcano or native. Absent: nobody.",
        examples=["kueue"],
    )
    resumed_from_step: Count | None = Field(None, description="Step of the checkpoint it started from.")
    last_step: Count | None = Field(None, description="Last step seen.")
    preflight: PreflightStatus | None = Field(None, description="What its nodes have shown before training.")
    stage: Literal["data"] | None = Field(
        None, description="data: one pod without accelerators, which prepares the data. Absent where it trains."
    )


class Transition(Model):
    """A change of phase."""

    phase: Annotated[Phase, Field(strict=False)] = Field(description="The new phase.")
    time: Time = Field(description="When.")


class Condition(Model):
    """A condition as in metav1.Condition."""

    type: Annotated[str, Field(max_length=316)] = Field(description="Name of the condition.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    reason: Annotated[str, Field(max_length=1024)] = Field(description="Why, in CamelCase.")
    message: Annotated[str, Field(max_length=32_768)] = Field(default="", description="Why, in words.")
    observed_generation: int | None = Field(None, description="Generation of the spec it speaks of.")
    last_transition_time: Time = Field(description="When status last changed.")


class ResolvedRun(Model):
    """The merged job that the run was started with: which ConfigMap holds it, and its digest."""

    config_map: Annotated[str, Field(max_length=253)] = Field(description="Name of the run's ConfigMap.")
    sha256: Annotated[str, Field(max_length=64)] = Field(
        description="SHA-256 of its job.json; a ConfigMap that differs is not used."
    )
    accelerators: Annotated[dict[str, Count], Field(max_length=32)] | None = Field(
        None, description="Accelerators of each node, by resource name, as the operator counts them."
    )
    spec_sha256: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="SHA-256 of the job's own spec, without what may change while it lives: by it the model of a job "
        "that is deleted and created anew is known.",
    )
    data_in_gang: Literal[True] | None = Field(
        None, description="True where no pod of its own prepares the data: a policy leaves it to node 0 of the gang."
    )


class QueueStatus(Model):
    """The job's place in the operator's own queue, where its namespace has a quota: all that the queue knows of it."""

    accelerators: Annotated[dict[str, Count], Field(max_length=32)] = Field(
        default={}, description="What counts against quotas, of each node, by resource name."
    )
    wanted: Count = Field(default=0, description="Nodes that it asks for.")
    least: Count = Field(default=0, description="Fewest nodes that it can start with.")
    nodes: Count = Field(default=0, description="Nodes that it holds; 0 while it waits.")
    leaves: Count | None = Field(
        None, description="Nodes that it will hold once its gang has stopped; absent where it isn't giving back."
    )
    saves: bool = Field(default=False, description="Whether it saves checkpoints.")
    priority_class_name: Annotated[str, Field(max_length=253)] = Field(default="", description="Its PriorityClass.")
    since: Time = Field(description="Since when it is in the queue; it keeps its place for as long as it runs.")
    changed_time: Time = Field(
        description="When it was given what it holds; where it holds nothing, since when it waits this time."
    )


class TrainingJobStatus(Model):
    """What is seen of a TrainingJob."""

    observed_generation: int = Field(default=-1, description="Generation of the spec that this status speaks of.")
    uid: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="UID of the TrainingJob that this status speaks of. A copy's, such as a backup's that was restored "
        "with its status, is another: it is a new job.",
    )
    operator: Annotated[str, Field(max_length=MAX_OPERATOR)] | None = Field(
        None,
        description="Whose job it is: namespace and name of the Lease that the acting operator holds. While somebody "
        "renews that, no other operator touches the job.",
    )
    phase: Annotated[Phase, Field(strict=False)] | None = Field(None, description="Where the run is in its life.")
    reason: Annotated[str, Field(max_length=63)] | None = Field(None, description="Why, in CamelCase.")
    message: Text | None = Field(None, description="Why, in words, and what to do.")
    run: Count | None = Field(None, description="Number of the run: counts restartNonce values, from 1.")
    restart_nonce: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="The restartNonce that this run answers."
    )
    restart_nonces: Annotated[list[Annotated[str, Field(max_length=16)]], Field(max_length=MAX_NONCES_KEPT)] = Field(
        default=[], description="Digests of the restartNonce values that runs have answered: none starts a second one."
    )
    attempt: Count | None = Field(None, description="Number of the gang in this run, from 0.")
    resolved: ResolvedRun | None = Field(None, description="The merged job that this run uses.")
    start_time: Time | None = Field(None, description="When the run began.")
    running_time: Time | None = Field(None, description="When all pods of the first attempt ran.")
    completion_time: Time | None = Field(None, description="When the run finished.")
    data_time: Time | None = Field(None, description="When the data were prepared, where the job has data.")
    data: DataStatus | None = Field(None, description="What the run's data are, in short, where the job has data.")
    restart_time: Time | None = Field(None, description="When the next attempt may start.")
    restart_nodes: Count | None = Field(None, description="Pods of the next attempt's gang, where it is known.")
    scout_time: Time | None = Field(
        None, description="When places for more nodes of an elastic gang were last looked for."
    )
    active_seconds: Count | None = Field(None, description="Running time of the attempts that have ended, in seconds.")
    nodes: NodeCounts | None = Field(None, description="Pods of the current attempt.")
    restarts: Restarts | None = Field(None, description="Gang restarts of this run.")
    spent: Spent | None = Field(
        None, description="What is spent of maxRestarts and maxDisruptions since an hour of progress refilled them."
    )
    trouble: Trouble | None = Field(
        None, description="Why pods can't start; absent once all of them run, or where nothing is wrong."
    )
    progress: ProgressStatus | None = Field(None, description="How far training is.")
    checkpoint: CheckpointStatus | None = Field(None, description="The newest complete checkpoint.")
    artifact: ArtifactStatus | None = Field(None, description="The verified model.")
    evaluation: EvaluationStatus | None = Field(None, description="What was measured of the finished model, in short.")
    tracking: TrackedRuns = Field(default=[], description="Where trackers show the run.")
    failure: FailureStatus | None = Field(None, description="Root cause of the last failure.")
    usage: Usage | None = Field(None, description="What the run has cost, and how much of it went into the model.")
    idle_since: Time | None = Field(
        None, description="Since when the gang has let its accelerators rest; absent unless it has for long."
    )
    stragglers: Annotated[list[Straggler], Field(max_length=MAX_STRAGGLERS)] = Field(
        default=[], description="Ranks that hold the others up."
    )
    notes: Annotated[list[Text], Field(max_length=MAX_NOTES_KEPT)] = Field(
        default=[], description="What the trainer wants the user to know, such as a checkpoint that was found damaged."
    )
    attempts: Annotated[list[Attempt], Field(max_length=MAX_ATTEMPTS_KEPT)] = Field(
        default=[], description="The last attempts."
    )
    transitions: Annotated[list[Transition], Field(max_length=MAX_TRANSITIONS_KEPT)] = Field(
        default=[], description="The last changes of phase."
    )
    queue: QueueStatus | None = Field(
        None, description="Its place in the operator's queue; absent where its namespace has no quota."
    )
    selector: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Label selector of the job's pods, for the scale subresource."
    )
    conditions: Annotated[ByType[Condition], Field(max_length=16)] = Field(
        default=[],
        description="Queued, Running, Suspended, Complete, Failed, Finished, Reconciling, Stalled, ReplicaFailure.",
    )
