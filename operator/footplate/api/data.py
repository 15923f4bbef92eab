"""What is done with a job's data before it trains, and how they are divided: `spec.data`."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import Field

from footplate.api.data_checks import Checks, ColumnName, Share
from footplate.api.resources import Resources
from footplate.api.types import Model, Rule, at

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)
SplitBy = Literal["random", "stratified", "group", "time", "given"]
TOLERANCE = 1e-6
"""By how much shares may miss 1: 0.7, 0.2 and 0.1 don't add up exactly."""


def _adds_up(it: Mapping[str, Any]) -> bool:
    shares = [at(it, name) or 0.0 for name in SPLITS]
    return at(it, "by") == "given" or (abs(sum(shares) - 1) <= TOLERANCE and shares[0] > 0)


_SUM = " + ".join(f"(has(self.{name}) ? self.{name} : 0.0)" for name in SPLITS)


class Split(Model):
    """How rows are divided; each is in exactly one part."""

    by: SplitBy = Field(
        default="random",
        description="random; stratified (each class of column has its share in each part); group (rows that are alike "
        "in column stay together); time (train is the earliest by column, test the latest); given (by the names of "
        "channels, folders and files, or by what column says: train, validation or test).",
    )
    train: Share | None = Field(None, description="Share of the rows to train on.", examples=[0.7])
    validation: Share | None = Field(None, description="Share of the rows to choose by. Default: 0.", examples=[0.2])
    test: Share | None = Field(None, description="Share of the rows to judge by, once. Default: 0.", examples=[0.1])
    column: ColumnName | None = Field(
        None,
        description="What stratified, group and time go by. Of folders of pictures or texts: class, or another column "
        "of the profile.",
        examples=["label"],
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        default=0, description="Another one divides otherwise; the same data and seed always divide alike."
    )

    rules = (
        Rule(
            f"(has(self.by) && self.by == 'given') || (has(self.train) && self.train > 0.0 && "
            f"{_SUM} >= {1 - TOLERANCE:f} && {_SUM} <= {1 + TOLERANCE:f})",
            "train, validation and test must add up to 1, and train be more than 0, for example train: 0.7, "
            "validation: 0.2, test: 0.1",
            _adds_up,
            "train",
        ),
        Rule(
            "!(has(self.by) && self.by == 'given') || (!has(self.train) && !has(self.validation) && !has(self.test))",
            "by: given takes the parts as they are; leave train, validation and test out",
            lambda it: at(it, "by") != "given" or all(at(it, name) is None for name in SPLITS),
            "by",
        ),
        Rule(
            "!(has(self.by) && self.by in ['stratified', 'group', 'time']) || has(self.column)",
            "by: stratified, group and time go by a column; name it in column",
            lambda it: at(it, "by") not in ("stratified", "group", "time") or at(it, "column") is not None,
            "column",
        ),
        Rule(
            "!has(self.column) || (has(self.by) && self.by != 'random')",
            "by: random goes by no column; leave column out, or say by: stratified, group or time",
            lambda it: at(it, "column") is None or at(it, "by") not in (None, "random"),
            "column",
        ),
    )


class Data(Model):
    """What is done with the data before training."""

    split: Split | None = Field(
        None,
        description="Divides the channel train, or the only one with data, into train, validation and test. Default: "
        "the data stay as they are.",
    )
    checks: Checks | None = Field(
        None, description="What must be true of the data; else the run fails before training. Default: nothing."
    )
    profile: bool | None = Field(
        None,
        description="True describes the data, and what is suspicious in them, as JSON and as a page beside the run's "
        "records. Default: false.",
    )

    resources: Resources | None = Field(
        None,
        description="Resources of the pod that does it, before there is a gang; it has no accelerators. Default: "
        "requests of 1 CPU and 2Gi of memory.",
        examples=[{"requests": {"cpu": "4", "memory": "16Gi"}}],
    )

    rules = (
        Rule(
            "!has(self.resources) || "
            "((!has(self.resources.limits) || self.resources.limits.all(k, !k.contains('/'))) && "
            "(!has(self.resources.requests) || self.resources.requests.all(k, !k.contains('/'))))",
            "the pod that prepares the data has no accelerators; name CPUs, memory and disk alone",
            lambda it: (
                not any("/" in name for kind in ("limits", "requests") for name in at(it, "resources", kind) or ())
            ),
            "resources",
        ),
        Rule(
            "has(self.split) || has(self.checks) || (has(self.profile) && self.profile)",
            "does nothing: set split, checks or profile: true, or leave data out",
            lambda it: at(it, "split") is not None or at(it, "checks") is not None or bool(at(it, "profile")),
        ),
    )


def _brings_parts(spec: Mapping[str, Any]) -> bool:
    return any(at(channel, "name") in ("validation", "test") for channel in at(spec, "inputs") or ())


SPEC_RULES = (
    Rule(
        "!has(self.data) || has(self.runtimeRef) || (has(self.inputs) && self.inputs.size() > 0)",
        "data prepares what inputs bring; add an input named train, or leave data out",
        lambda spec: at(spec, "data") is None or at(spec, "runtimeRef") is not None or bool(at(spec, "inputs")),
        "data",
    ),
    Rule(
        "!has(self.data) || !has(self.data.split) || (has(self.data.split.by) && self.data.split.by == 'given') || "
        "!has(self.inputs) || !self.inputs.exists(i, i.name == 'validation' || i.name == 'test')",
        "data.split divides the input train, but an input named validation or test is there; leave that out, or say "
        "by: given",
        lambda spec: (
            at(spec, "data", "split") is None or at(spec, "data", "split", "by") == "given" or not _brings_parts(spec)
        ),
        "data.split",
    ),
)
