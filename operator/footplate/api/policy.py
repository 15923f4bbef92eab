"""TrainingPolicy: what the jobs of some namespaces may do, whatever they start from. The boundary that a platform team
draws; a runtime's own policy is only its author's wish.

A field that isn't set says nothing; an empty list allows nothing. Of several policies that select a namespace each is
held on its own, so that the strictest counts.
"""

from typing import Annotated, Literal

from pydantic import Field

from footplate.api.affinity import LabelSelector
from footplate.api.money import IdleRule
from footplate.api.packages import PipPolicy
from footplate.api.patterns import (
    HTTP_PREFIX_PATTERN,
    HTTPS_PREFIX_PATTERN,
    IMAGE_PREFIX_PATTERN,
    KEY_OR_PAIR_PATTERN,
    KEY_OR_STEM_PATTERN,
    NAME_OR_STEM_PATTERN,
    TAINT_KEY_PATTERN,
    URI_PREFIX_PATTERN,
)
from footplate.api.quantities import Bytes
from footplate.api.runtime import RuntimeMetadata
from footplate.api.trainingjob import NodeCount, RuntimeRef
from footplate.api.types import LabelKey, Model, Rule, Schema, at, keep

MAX_ITEMS = 64

WHOLE_IF_ONES_OWN = Rule(
    "!self.contains('{namespace}') || !self.endsWith('*')",
    "a name with {namespace} must be whole: {namespace}-* would let the namespace team use what is team-a's; write it "
    "out, or leave one of them out",
    lambda name: "{namespace}" not in name or not name.endswith("*"),
)

Name = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern=NAME_OR_STEM_PATTERN),
    keep(WHOLE_IF_ONES_OWN),
    Schema(rules=(WHOLE_IF_ONES_OWN,)),
]
"""A name, `{namespace}` in it standing for the job's, or the beginning of names, which ends with `*`."""
Names = Annotated[list[Name], Field(max_length=MAX_ITEMS)]
Key = Annotated[str, Field(min_length=1, max_length=317, pattern=KEY_OR_STEM_PATTERN)]
"""The key of a label or annotation, or the beginning of keys, which ends with `*`."""
Keys = Annotated[list[Key], Field(max_length=MAX_ITEMS)]
NodeLabel = Annotated[str, Field(min_length=1, max_length=381, pattern=KEY_OR_PAIR_PATTERN)]
ImagePrefix = Annotated[str, Field(min_length=1, max_length=512, pattern=IMAGE_PREFIX_PATTERN)]
UriPrefix = Annotated[str, Field(min_length=1, max_length=512, pattern=URI_PREFIX_PATTERN)]
GitPrefix = Annotated[str, Field(min_length=1, max_length=512, pattern=HTTPS_PREFIX_PATTERN)]
EndpointPrefix = Annotated[str, Field(min_length=1, max_length=512, pattern=HTTP_PREFIX_PATTERN)]


class AllowedToleration(Model):
    """Tolerations that a job may have: those that tolerate no more than this one."""

    key: Annotated[str, Field(max_length=317, pattern=TAINT_KEY_PATTERN)] = Field(
        default="", description="Taint key; empty for all, which also allows a toleration of everything."
    )
    value: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="Taint value. Default: any, and the operator Exists too."
    )
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Taint effect. Default: any."
    )


class AllowedRuntimes(Model):
    """Which blueprints jobs may start from, and whether they must."""

    required: bool = Field(default=False, description="True refuses jobs without runtimeRef.")
    allowed: Annotated[list[RuntimeRef], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="The runtimes that jobs may name. Default: all.",
        examples=[[{"kind": "ClusterTrainingRuntime", "name": "torch"}]],
    )
    use_needs_rights: bool = Field(
        default=False,
        description="True lets nobody create a job from a ClusterTrainingRuntime who hasn't the verb use on it by "
        "RBAC. Who that is only the API server knows: it takes the chart's admission policy.",
    )


class Borrowing(Model):
    """What a namespace may hold beyond its quota while others leave theirs idle."""

    limit: Annotated[dict[LabelKey, Annotated[int, Field(ge=0, le=1_000_000)]], Field(max_length=32)] | None = Field(
        None,
        description="Most of each resource that a namespace may borrow; those that aren't named have no limit but the "
        "pool. Default: no limit.",
        examples=[{"nvidia.com/gpu": 8}],
    )


class Quota(Model):
    """What each selected namespace is entitled to. All quotas together are the pool; nodes aren't counted."""

    accelerators: Annotated[
        dict[LabelKey, Annotated[int, Field(ge=0, le=1_000_000)]], Field(min_length=1, max_length=32)
    ] = Field(
        description="Accelerators that jobs of one namespace may hold together, by their names in resources.limits. A "
        "resource that isn't named isn't limited; 0 leaves what is borrowed alone.",
        examples=[{"nvidia.com/gpu": 16}],
    )
    borrowing: Borrowing | None = Field(
        None, description="Lets a namespace hold more while others leave theirs idle. Default: it may not."
    )
    loan_seconds: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=600,
        description="How long a gang keeps what it has borrowed, or was given before others of its namespace, until it "
        "can be asked to checkpoint and give back; three times as long where it hasn't saved a checkpoint yet.",
    )

    rules = (
        Rule(
            "!has(self.borrowing) || !has(self.borrowing.limit) || self.borrowing.limit.all(k, k in self.accelerators)",
            "borrowing.limit must name resources of accelerators; add the resource there, or correct the name",
            lambda it: set(at(it, "borrowing", "limit") or ()) <= set(it["accelerators"]),
            "borrowing.limit",
        ),
    )


class TrainingPolicySpec(Model):
    """What the jobs of the selected namespaces may do. What isn't set says nothing; an empty list allows nothing."""

    namespace_selector: LabelSelector = Field(
        description="Namespaces by their labels; {} for all.",
        examples=[{"matchLabels": {"example.com/tenant": "true"}}],
    )
    runtimes: AllowedRuntimes = Field(default=AllowedRuntimes(), description="Blueprints that jobs may start from.")
    image_prefixes: Annotated[list[ImagePrefix], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="Registries, repositories or images one of which the image must be, or lie in, written in lower "
        "case; {namespace} stands for the job's. A prefix ends at a boundary: registry.example.com doesn't allow "
        "registry.example.com.attacker.net. Default: any.",
        examples=[["registry.example.com/"]],
    )
    uri_prefixes: Annotated[list[UriPrefix], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="Prefixes one of which each URI of a job must have; {namespace} stands for the job's. A prefix "
        "ends where a path segment does. Default: any.",
        examples=[["s3://models/{namespace}/", "s3://datasets/"]],
    )
    git_prefixes: Annotated[list[GitPrefix], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="The same for trainer.source.git.url. Default: any.",
        examples=[["https://git.example.com/{namespace}/"]],
    )
    endpoint_prefixes: Annotated[list[EndpointPrefix], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="The same for storage.endpoint, and for variables of trainer.env that say where storage is. "
        "Default: any.",
        examples=[["https://minio.example.com"]],
    )
    tracker_prefixes: Annotated[list[EndpointPrefix], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="The same for the addresses of trackers in tracking. Default: any.",
        examples=[["https://mlflow.example.com/{namespace}"]],
    )
    pip: PipPolicy | None = Field(
        None, description="Where trainer.requirements and requirements.txt may come from. Default: anywhere."
    )
    max_nodes: NodeCount | None = Field(
        None, description="Most nodes of a job, to which an elastic one may grow. Default: no limit.", examples=[64]
    )
    max_accelerators: (
        Annotated[dict[LabelKey, Annotated[int, Field(ge=0, le=1_000_000)]], Field(max_length=32)] | None
    ) = Field(
        None,
        description="Most of each resource with a maker's domain that a job may ask for on all its nodes together; "
        "those that aren't named are none. Default: no limit.",
        examples=[{"nvidia.com/gpu": 64}],
    )
    secrets: Names | None = Field(
        None,
        description="Secrets that a job may name, wherever it names one; {namespace} stands for the job's, and a name "
        "that ends with * for all that begin so. The operator reads no Secret, so not by label. Default: any.",
        examples=[["s3", "team-*"]],
    )
    service_accounts: Names | None = Field(
        None,
        description="ServiceAccounts of pods that a job may name. Default: any.",
        examples=[["trainer"]],
    )
    priority_classes: Names | None = Field(
        None, description="PriorityClasses that a job may name. Default: any.", examples=[["batch-low", "batch-high"]]
    )
    runtime_classes: Names | None = Field(None, description="RuntimeClasses that a job may name. Default: any.")
    resource_claims: Names | None = Field(
        None,
        description="ResourceClaims and ResourceClaimTemplates that a job may name. Accelerators that come by a claim "
        "count against no maxAccelerators and no quota. Default: any.",
        examples=[["single-gpu"]],
    )
    schedulers: Names | None = Field(
        None,
        description="Schedulers that a job may name; scheduling.gang: volcano names volcano, and coscheduling "
        "scheduler-plugins-scheduler. Default: any.",
    )
    queues: Names | None = Field(
        None,
        description="Queues that a job may name in scheduling.queueName. Volcano's belong to no "
        "namespace. Default: any.",
        examples=[["{namespace}"]],
    )
    csi_drivers: Names | None = Field(
        None, description="CSI drivers whose ephemeral volumes a job may have. Default: any.", examples=[[]]
    )
    tolerations: Annotated[list[AllowedToleration], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="Tolerations that a job may have. Default: any.",
        examples=[[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]],
    )
    node_labels: Annotated[list[NodeLabel], Field(max_length=MAX_ITEMS)] | None = Field(
        None,
        description="Node labels by which a job may choose its nodes in nodeSelector and affinity: a key, or key=value "
        "for one value of it; metadata.name is a node's name. Default: any.",
        examples=[["gpu", "example.com/pool=shared"]],
    )
    foreign_pods: bool = Field(
        default=False,
        description="True lets pod affinity and anti-affinity look at pods of other namespaces, by which a job can "
        "keep these off its nodes.",
    )
    pod_annotations: Keys | None = Field(
        None,
        description="Keys of podTemplate.annotations that a job may set; one that ends with * stands for all that "
        "begin so. Default: any.",
        examples=[["example.com/*"]],
    )
    pod_labels: Keys | None = Field(
        None,
        description="The same for podTemplate.labels. Default: any.",
        examples=[["example.com/*", "team"]],
    )
    idle: IdleRule | None = Field(
        None,
        description="Jobs that let their accelerators rest. Default: after an hour it is said, and nothing more.",
        examples=[{"afterSeconds": 7200, "action": "Stop"}],
    )
    data_pod_above: Bytes | None = Field(
        None,
        description="Jobs whose inputs hold no more data than this by their maxSize, all together, have no pod of "
        "their own for spec.data: node 0 of the gang prepares them, and the others wait for it. Of several policies "
        "the smallest counts. Default: always a pod of its own.",
        examples=["100Mi"],
    )
    quota: Quota | None = Field(
        None,
        description="Accelerators of each selected namespace; of several policies the smallest count, and borrowing "
        "where all allow it. Jobs wait in the operator's own queue for what they ask. Default: no limit, no queue.",
    )
    history_limit: Annotated[int, Field(ge=0, le=100_000)] | None = Field(
        None,
        description="Most finished jobs of a namespace that are kept: of more, those that ended first are deleted. "
        "What is in object storage stays. Default: all are kept.",
        examples=[200],
    )


class TrainingPolicy(Model):
    """What the jobs of some namespaces may do: a boundary that no job, runtime or edit gets around."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["TrainingPolicy"] = "TrainingPolicy"
    metadata: RuntimeMetadata
    spec: TrainingPolicySpec = Field(description="The namespaces, and what their jobs may do.")
