"""TrainingRuntime and ClusterTrainingRuntime: blueprints that jobs start from, and what jobs may change of them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from footplate.api.blocks import (
    Checkpoint,
    Resources,
    RunPolicy,
    Scheduling,
    Storage,
    Trainer,
)
from footplate.api.pods import NO_HOST_PATH, PodTemplate
from footplate.api.trainingjob import NodeCount
from footplate.api.types import Model

UriPrefix = Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^(s3|gs|az|file)://[^%?#@\x00-\x20\x7f]*$")]


class RuntimePolicy(Model):
    """What jobs that start from a runtime may do. Empty lists allow everything."""

    allowed: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)] | None = Field(
        None,
        description="Paths below spec that a job may set over the runtime's own value, such as trainer.image or "
        "resources. Fields that the runtime doesn't set are always the job's. Default: all.",
        examples=[["trainer.image", "resources", "nodes"]],
    )
    image_prefixes: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=64)] = Field(
        default=[],
        description="Prefixes one of which the image must have.",
        examples=[["registry.example.com/"]],
    )
    max_nodes: NodeCount | None = Field(None, description="Most nodes of a job.", examples=[64])
    uri_prefixes: Annotated[list[UriPrefix], Field(max_length=64)] = Field(
        default=[],
        description="Prefixes one of which each URI of a job must have; {namespace} stands for the job's.",
        examples=[["s3://models/{namespace}/", "s3://datasets/"]],
    )
    required_labels: Annotated[list[Annotated[str, Field(max_length=317)]], Field(max_length=64)] = Field(
        default=[], description="Labels that a TrainingJob must carry.", examples=[["cost-center"]]
    )


class RuntimeSpec(Model):
    """Defaults for jobs, block by block, and the policy they must keep."""

    trainer: Trainer | None = Field(None, description="Default for spec.trainer.")
    nodes: NodeCount | None = Field(None, description="Default for spec.nodes.")
    resources: Resources | None = Field(None, description="Default for spec.resources.")
    checkpoint: Checkpoint | None = Field(None, description="Default for spec.checkpoint.")
    storage: Storage | None = Field(None, description="Default for spec.storage.")
    run_policy: RunPolicy | None = Field(None, description="Default for spec.runPolicy.")
    scheduling: Scheduling | None = Field(None, description="Default for spec.scheduling.")
    pod_template: PodTemplate | None = Field(None, description="Default for spec.podTemplate.")
    policy: RuntimePolicy = Field(default=RuntimePolicy(), description="What jobs may do.")


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

    rules = (NO_HOST_PATH,)

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        if self.spec.pod_template is not None and self.spec.pod_template.names_host_path():
            raise NO_HOST_PATH.broken()
        return self


class ClusterTrainingRuntime(Model):
    """A blueprint for the jobs of the whole cluster."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["ClusterTrainingRuntime"] = "ClusterTrainingRuntime"
    metadata: RuntimeMetadata
    spec: RuntimeSpec = Field(description="Defaults and policy.")
