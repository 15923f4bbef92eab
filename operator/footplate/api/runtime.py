"""TrainingRuntime and ClusterTrainingRuntime: blueprints that jobs start from, and what jobs may change of them."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from footplate.api.blocks import Checkpoint, RunPolicy, Scheduling, Storage
from footplate.api.errors import field_names, nearest
from footplate.api.money import Prices
from footplate.api.packages import PipPolicy
from footplate.api.patterns import URI_PREFIX_PATTERN
from footplate.api.pods import NO_HOST_PATH, PodTemplate
from footplate.api.preflight import Preflight
from footplate.api.resources import Resources
from footplate.api.tracking import Tracking
from footplate.api.trainer import Trainer
from footplate.api.trainingjob import NodeCount, TrainingJobSpec
from footplate.api.types import LabelKey, Model, Rule, Schema, at

UriPrefix = Annotated[str, Field(min_length=1, max_length=1024, pattern=URI_PREFIX_PATTERN)]


def _paths_pattern() -> str:
    """The fields of a job's spec, two levels deep; what is below them is the user's own, mostly."""
    blocks = []
    for name in field_names(TrainingJobSpec):
        below = field_names(TrainingJobSpec, name)
        blocks.append(rf"{name}([.]({'|'.join(below)})([.].+)?)?" if below else name)
    return f"^({'|'.join(blocks)})$"


PATHS_PATTERN = _paths_pattern()
IS_FIELD = Rule(
    f"self.matches('{PATHS_PATTERN}')",
    "is no field of a job's spec, so it would allow nothing; write a path below spec, such as trainer.image",
    lambda path: re.search(PATHS_PATTERN, path) is not None,
)


def _check_path(path: str) -> str:
    if not IS_FIELD.is_broken_by(path):
        return path
    first = path.removeprefix("spec.").partition(".")[0]
    known = [*field_names(TrainingJobSpec), *(f"{first}.{name}" for name in field_names(TrainingJobSpec, first))]
    raise ValueError("; ".join(part for part in (IS_FIELD.message, nearest(path.removeprefix("spec."), known)) if part))


FieldPath = Annotated[str, Field(max_length=253), AfterValidator(_check_path), Schema(rules=(IS_FIELD,))]


class RuntimePolicy(Model):
    """What jobs that start from a runtime may do. Empty lists allow everything."""

    allowed: Annotated[list[FieldPath], Field(max_length=64)] | None = Field(
        None,
        description="Paths below spec that a job may set over the runtime's own value, such as trainer.image or "
        "resources. Fields that the runtime doesn't set are always the job's. Default: all.",
        examples=[["trainer.image", "resources", "nodes"]],
    )
    image_prefixes: Annotated[list[Annotated[str, Field(min_length=1, max_length=1024)]], Field(max_length=64)] = Field(
        default=[],
        description="Registries, repositories or images one of which the image must be, or lie in; a prefix ends at a "
        "boundary: registry.example.com doesn't allow registry.example.com.attacker.net.",
        examples=[["registry.example.com/"]],
    )
    max_nodes: NodeCount | None = Field(None, description="Most nodes of a job.", examples=[64])
    uri_prefixes: Annotated[list[UriPrefix], Field(max_length=64)] = Field(
        default=[],
        description="Prefixes one of which each URI of a job must have; {namespace} stands for the job's.",
        examples=[["s3://models/{namespace}/", "s3://datasets/"]],
    )
    required_labels: Annotated[list[LabelKey], Field(max_length=64)] = Field(
        default=[], description="Labels that a TrainingJob must carry.", examples=[["cost-center"]]
    )
    pip: PipPolicy = Field(
        default=PipPolicy(), description="Where trainer.requirements and requirements.txt may come from."
    )


class RuntimeSpec(Model):
    """Defaults for jobs, block by block, and the policy they must keep."""

    trainer: Trainer | None = Field(None, description="Default for spec.trainer.")
    nodes: NodeCount | None = Field(None, description="Default for spec.nodes.")
    resources: Resources | None = Field(None, description="Default for spec.resources.")
    checkpoint: Checkpoint | None = Field(None, description="Default for spec.checkpoint.")
    tracking: Tracking | None = Field(None, description="Default for spec.tracking.")
    storage: Storage | None = Field(None, description="Default for spec.storage.")
    run_policy: RunPolicy | None = Field(None, description="Default for spec.runPolicy.")
    scheduling: Scheduling | None = Field(None, description="Default for spec.scheduling.")
    pod_template: PodTemplate | None = Field(None, description="Default for spec.podTemplate.")
    preflight: Preflight | None = Field(
        None, description="What nodes must show before each attempt; no job changes it. Default: nothing is checked."
    )
    policy: RuntimePolicy = Field(default=RuntimePolicy(), description="What jobs may do.")
    prices: Prices | None = Field(
        None,
        description="What its accelerators cost, for status.usage.cost, runPolicy.budget.cost and the metrics; in a "
        "ClusterTrainingRuntime alone. A run keeps the prices that it began with.",
    )


NO_PRICES = Rule(
    "!has(self.spec.prices)",
    "spec.prices are the platform's to say: set them in a ClusterTrainingRuntime",
    lambda runtime: at(runtime, "spec", "prices") is None,
    "spec.prices",
)


class RuntimeMetadata(Model):
    """Metadata; its rules are the API server's."""

    model_config = Model.model_config | {"extra": "ignore"}

    name: str
    namespace: str | None = None


class TrainingRuntime(Model):
    """A blueprint for the jobs of one namespace."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["TrainingRuntime"] = "TrainingRuntime"
    metadata: RuntimeMetadata
    spec: RuntimeSpec = Field(description="Defaults and policy.")

    rules = (NO_HOST_PATH, NO_PRICES)


class ClusterTrainingRuntime(Model):
    """A blueprint for the jobs of the whole cluster."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["ClusterTrainingRuntime"] = "ClusterTrainingRuntime"
    metadata: RuntimeMetadata
    spec: RuntimeSpec = Field(description="Defaults and policy.")
