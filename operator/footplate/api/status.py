"""TrainingJob.status: what the operator has seen and decided, and all that it must remember between two looks."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, PlainSerializer

from footplate.api.types import ByType, Model, Schema

MAX_ATTEMPTS_KEPT = 10
MAX_TRANSITIONS_KEPT = 20
MAX_STRAGGLERS = 8
MAX_UNFIT = 16
MAX_NOTES_KEPT = 8
MAX_OPERATOR = 63 + 1 + 253
"""A namespace and a name."""
MAX_RANKS_LENGTH = 32_768
"""Every other rank of ten thousand takes 25,000 characters."""
MAX_NONCES_KEPT = 100


Ended = Literal["epochs", "earlyStopping", "terminateOnNaN", "callback"]
"""Why `Trainer.fit` has come to its end: all epochs are done, or which callback has ended it. Whoever reads what
another version has written takes other words too.
"""


def format_time(time: datetime) -> str:
    """A time as Kubernetes writes it: UTC, whole seconds."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


MAX_YEAR = 9_000


def _in_utc(time: datetime) -> datetime:
    """The time as it is written: a year that is in bounds in its own zone may not be in UTC."""
    try:
        time = time.astimezone(UTC)
    except OverflowError:
        time = datetime.max.replace(tzinfo=UTC)
    if not 1970 <= time.year <= MAX_YEAR:
        raise ValueError(f"must lie between the years 1970 and {MAX_YEAR}")
    return time


Time = Annotated[
    AwareDatetime,
    Field(strict=False),
    AfterValidator(_in_utc),
    PlainSerializer(format_time, return_type=str, when_used="json"),
    Schema({"format": "date-time"}),
]
Text = Annotated[str, Field(max_length=1024)]
MAX_COUNT = 2**53
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A number that JSON carries exactly, wherever it passes: larger ones come back from the API server as floats."""
MAX_METRICS = 64
MAX_METRIC_NAME = 63
Metrics = Annotated[dict[Annotated[str, Field(max_length=MAX_METRIC_NAME)], float], Field(max_length=MAX_METRICS)]

MAX_CURVE_POINTS = 120
MAX_CURVE_METRICS = 8


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
        return self in (Phase.SUCCEEDED, Phase.FAILED)


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


class CurveStatus(Model):
    """A few metrics over the steps of a run, evenly thinned: `footplate.curves` makes it. At most 8 kB of JSON."""

    steps: Annotated[list[Count], Field(max_length=MAX_CURVE_POINTS)] = Field(
        default=[], description="Optimizer steps of the points, ascending; of code that counts none, its reports."
    )
    metrics: Annotated[
        dict[
            Annotated[str, Field(max_length=MAX_METRIC_NAME)],
            Annotated[list[Annotated[float | None, Schema({"nullable": True})]], Field(max_length=MAX_CURVE_POINTS)],
        ],
        Field(max_length=MAX_CURVE_METRICS),
    ] = Field(default={}, description="A value for each of the steps, by metric; null where none was reported.")


class ProgressStatus(Model):
    """How far training is. Null where not known, never guessed."""

    epoch: Count | None = Field(None, description="Epochs finished.")
    epochs: Count | None = Field(None, description="Epochs in all.")
    step: Count | None = Field(None, description="Optimizer steps finished.")
    total_steps: Count | None = Field(None, description="Optimizer steps in all.")
    percent: float | None = Field(None, description="step of totalSteps, in percent.")
    eta_seconds: Count | None = Field(
        None, description="Seconds until the last step, at the speed of recent steps; null where there are none."
    )
    update_time: Time | None = Field(None, description="When the trainer said so.")
    last_step_time: Time | None = Field(None, description="When the last step was finished.")
    samples_per_second: float | None = Field(None, description="Samples of all ranks together per second.")
    metrics: Metrics = Field(default={}, description="Latest values that the code reported.")
    history: CurveStatus | None = Field(
        None, description="The course of up to 8 metrics, in at most 120 points; undone steps are not in it."
    )
    loss: float | None = Field(
        default_factory=lambda said: _to_four_digits(said.get("metrics", {}).get("loss")),
        description="metrics.loss to four significant digits, for the printer column.",
    )
    eta: Annotated[str, Field(max_length=16)] | None = Field(
        None, description="etaSeconds for the printer column.", examples=["1h12m"]
    )


def _to_four_digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")


class CheckpointStatus(Model):
    """The newest complete checkpoint, or snapshot of what other code has left in its checkpoint folder."""

    uri: Annotated[str, Field(max_length=2048)] = Field(description="Its folder.")
    step: Count | None = Field(
        None, description="Optimizer steps it holds; none for a snapshot, of which only the code knows."
    )
    time: Time | None = Field(None, description="When it was committed.")
    size_bytes: Count | None = Field(None, description="Bytes of all its files.")
    save_seconds: float | None = Field(
        None, description="How long it took to save, from the copy in memory to the commit, in seconds."
    )


class ArtifactStatus(Model):
    """The verified model."""

    uri: Annotated[str, Field(max_length=2048)] = Field(description="Its folder.")
    manifest: Annotated[str, Field(max_length=2048)] = Field(description="Its manifest.")
    sha256: Annotated[str, Field(max_length=64)] = Field(description="SHA-256 of the manifest.")
    size_bytes: Count = Field(description="Bytes of all its files.")
    metrics: Metrics = Field(default={}, description="Final metrics.")
    step: Count | None = Field(None, description="Optimizer steps that the model has learnt from.")
    epoch: Count | None = Field(None, description="Epochs that the model has learnt from.")
    ended: Annotated[str, Field(max_length=63)] | None = Field(
        None,
        description="Why training has ended: epochs (all are done), earlyStopping, terminateOnNaN or callback; null "
        "where the code has a loop of its own.",
    )
    signature: Annotated[str, Field(max_length=2048)] | None = Field(None, description="Its signature, if it has one.")


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


class Cost(Model):
    """Money."""

    amount: float = Field(description="How much, rounded to hundredths.")
    currency: Annotated[str, Field(max_length=3)] = Field(description="Code of the currency.")


class Usage(Model):
    """What the run has cost, and how much of it went into the model.

    Productive and lost seconds are accelerator seconds (node seconds where the job has no accelerators) and add up to
    what the run's pods have held.
    """

    node_seconds: Count = Field(
        default=0, description="Seconds for which pods have held their nodes, summed over pods."
    )
    ended_node_seconds: Count = Field(default=0, description="Of these, the seconds of attempts that have ended.")
    accelerator_seconds: Annotated[dict[str, Count], Field(max_length=32)] = Field(
        default={}, description="Accelerators times seconds, by resource name."
    )
    productive_seconds: Count | None = Field(
        None, description="Accelerator seconds of the steps that the model stands on; null where the code reports none."
    )
    lost_seconds: Count | None = Field(
        None, description="The rest: starting, waiting for each other, repeated steps, saving, stopping."
    )
    goodput_percent: float | None = Field(None, description="productiveSeconds of all seconds held, in percent.")
    cost: Cost | None = Field(
        None, description="What the accelerators have cost by the prices of the runtime; null where it names none."
    )


class Straggler(Model):
    """A rank that is slower than the others."""

    rank: Count = Field(description="Rank of the process.")
    node_rank: Count = Field(description="Rank of its pod in the gang.")
    node: Annotated[str, Field(max_length=253)] | None = Field(None, description="Kubernetes node.")
    factor: float = Field(description="Its own work on a step takes so many times what the median rank's takes.")


class PreflightStatus(Model):
    """What the nodes of a gang have shown before training: the least of all, where each said it."""

    seconds: float = Field(default=0.0, description="How long it took, without the wait for other pods.")
    device_memory_bytes: Count | None = Field(None, description="Free memory of the device that had the least.")
    teraflops: float | None = Field(None, description="TFLOP/s of the slowest device.")
    gigabits_per_second: float | None = Field(
        None, description="Gbit/s that each node sent while all nodes summed a tensor."
    )


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
