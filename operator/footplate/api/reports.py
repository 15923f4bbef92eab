"""What a trainer reports of its run: parts of the status that cross `footplate.contract` in the same shape."""

from typing import Annotated, Literal

from pydantic import Field

from footplate.api.data import SPLITS, SplitName
from footplate.api.scalars import Count, Time
from footplate.api.types import ByName, Model, Schema

MAX_STRAGGLERS = 8
MAX_METRICS = 64
MAX_METRIC_NAME = 63
Metrics = Annotated[dict[Annotated[str, Field(max_length=MAX_METRIC_NAME)], float], Field(max_length=MAX_METRICS)]

Ended = Literal["epochs", "earlyStopping", "terminateOnNaN", "callback"]
"""Why `Trainer.fit` has come to its end: all epochs are done, or which callback has ended it. Whoever reads what
another version has written takes other words too.
"""
MAX_TRACKERS = 8
MAX_GATES = 16
MAX_GATE_METRIC = 160
MAX_HEADLINES = 9
MAX_CLASSES = 8
MAX_CLASS_NAME = 63
MAX_BROKEN_RULES = 3
MAX_RULE = 128

MAX_CURVE_POINTS = 120
MAX_CURVE_METRICS = 8


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
    percent: float | None = Field(
        None, description="step of totalSteps, in percent; 100 once training is done, also where it has stopped early."
    )
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
    accepted: bool | None = Field(
        None, description="Whether it has passed the gates of spec.evaluation; null where there are none."
    )


def keeps_bound(value: float, *, at_least: float | None, at_most: float | None) -> bool:
    """Whether a gate with such a bound is passed. NaN keeps none."""
    return (at_least is None or value >= at_least) and (at_most is None or value <= at_most)


class GateStatus(Model):
    """A gate, and how the model has met it."""

    metric: Annotated[str, Field(max_length=MAX_GATE_METRIC)] = Field(description="What was measured.")
    at_least: float | None = Field(None, description="Lowest value that passes.")
    at_most: float | None = Field(None, description="Highest value that passes.")
    value: float | None = Field(None, description="What it was; null where it is not a number, or was not measured.")
    passed: bool = Field(description="Whether the value keeps the bound.")
    why: Annotated[str, Field(max_length=256)] | None = Field(None, description="Why there is no value.")

    @property
    def bound(self) -> str:
        """What is asked, in words."""
        words, bound = ("at most", self.at_most) if self.at_least is None else ("at least", self.at_least)
        return f"{words} {str(bound).removesuffix('.0')}"

    @property
    def shown(self) -> str:
        """The value in four digits, unless by these it would seem to be on the bound's other side; `no value`."""
        if self.value is None:
            return "no value"
        short = f"{self.value:.4g}"
        seems = keeps_bound(float(short), at_least=self.at_least, at_most=self.at_most)
        return short if seems is self.passed else repr(self.value)


class EvaluationStatus(Model):
    """What was measured of the finished model, in short; its evaluation.json has all."""

    metrics: Annotated[
        dict[Annotated[str, Field(max_length=MAX_METRIC_NAME)], float], Field(max_length=MAX_HEADLINES)
    ] = Field(default={}, description="The values that say most.")
    gates: Annotated[list[GateStatus], Field(max_length=MAX_GATES)] = Field(
        default=[], description="The gates of spec.evaluation."
    )

    @property
    def accepted(self) -> bool | None:
        """Whether all gates are passed; None where there are none."""
        return all(gate.passed for gate in self.gates) if self.gates else None


class DataPart(Model):
    """A part of the data."""

    name: SplitName = Field(description="train, validation or test.")
    rows: Count = Field(description="Rows, pictures or texts of it.")
    share: Annotated[float, Field(ge=0, le=1)] = Field(description="Its share of all rows.", examples=[0.7])


class DataClass(Model):
    """A value of the label."""

    name: Annotated[str, Field(max_length=MAX_CLASS_NAME)] = Field(description="The value, cut where it is long.")
    rows: Count = Field(description="Rows that have it.")


class BrokenRule(Model):
    """A rule of spec.data.checks that the data break."""

    column: Annotated[str, Field(max_length=MAX_CLASS_NAME)] | None = Field(
        None, description="The column, cut where its name is long; null for a rule about whole rows."
    )
    rule: Annotated[str, Field(max_length=MAX_RULE)] = Field(
        description="As the manifest has it, cut where it is long.", examples=["minimum: 0"]
    )
    count: Count = Field(description="How many cells, or rows, break it.")


class DataStatus(Model):
    """What the run's data are, in short; its profile has all."""

    rows: Count = Field(description="Rows, pictures or texts, all parts together.")
    splits: Annotated[ByName[DataPart], Field(max_length=len(SPLITS))] = Field(
        default=[], description="The parts; where spec.data has no split, as the data came."
    )
    class_count: Count | None = Field(
        None,
        description="Values that the label has: the recipe's target, what stratified goes by, or the class of a "
        "folder. Null where none is known, or it has more than 1,000, or fractions.",
    )
    classes: Annotated[list[DataClass], Field(max_length=MAX_CLASSES)] = Field(
        default=[], description="Those of them that are most frequent."
    )
    problems: Count = Field(default=0, description="How many rules of spec.data.checks are broken.")
    broken: Annotated[list[BrokenRule], Field(max_length=MAX_BROKEN_RULES)] = Field(
        default=[], description="The first of them; problems.json beside the profile has all, with cells."
    )
    digest: Annotated[str, Field(max_length=64)] = Field(
        description="SHA-256 of the data: of one input that of inputs[].sha256, of several that of the sorted lines "
        "'<sha256>  <name>\\n'. Runs with the same have trained on the same."
    )
    profile: Annotated[str, Field(max_length=2048)] | None = Field(
        None, description="The profile as a page, with profile.json beside it; null where none was made or kept."
    )

    @property
    def in_words(self) -> str:
        """Rows, classes and parts, such as `178 rows in 3 classes: train 125 (70.2%), test 53 (29.8%)`."""
        parts = ", ".join(f"{part.name} {part.rows:,} ({part.share:.1%})" for part in self.splits)
        classes = "" if self.class_count is None else f" in {self.class_count:,} classes"
        return f"{self.rows:,} rows{classes}{f': {parts}' if parts else ''}"


class TrackedRun(Model):
    """Where a tracker shows the run."""

    name: Annotated[str, Field(max_length=63)] = Field(description="Which tracker, as in spec.tracking.")
    url: Annotated[str, Field(max_length=2048)] = Field(description="The run's page, or the folder of its files.")


TrackedRuns = Annotated[ByName[TrackedRun], Field(max_length=MAX_TRACKERS)]


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
