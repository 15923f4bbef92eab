"""TrainingJob: one training run, from code and data to a verified model."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from footplate.api.blocks import Checkpoint, RunPolicy, Scheduling, Storage
from footplate.api.data import SPEC_RULES as DATA_RULES
from footplate.api.data import Data
from footplate.api.evaluation import Evaluation
from footplate.api.gangs import SPEC_RULES as GANG_RULES
from footplate.api.patterns import FILE_PATTERN, INPUT_NAME_PATTERN
from footplate.api.pods import NO_HOST_PATH, PodTemplate
from footplate.api.quantities import Bytes
from footplate.api.references import LocalRef, NeededKeyRef
from footplate.api.resources import SPEC_RULES as RESOURCE_RULES
from footplate.api.resources import Resources
from footplate.api.status import TrainingJobStatus
from footplate.api.tracking import SPEC_RULES as TRACKING_RULES
from footplate.api.tracking import Tracking
from footplate.api.trainer import ENTRY_KINDS, Trainer
from footplate.api.types import (
    SERVER_DEFAULT,
    ByName,
    DnsSubdomain,
    Model,
    ProcessCount,
    Rule,
    Schema,
    Sha256,
    Uri,
    at,
    count,
)

MAX_NAME_LENGTH = 40
MAX_NODES = 10_000

NodeCount = Annotated[int, Field(ge=1, le=MAX_NODES)]

NODES_WORDS = "Can change after creation, within elastic's bounds, where elastic is set."
MUTABLE_IF_ELASTIC = Schema({"x-footplate-mutable": NODES_WORDS})


class RuntimeRef(Model):
    """The blueprint that a job starts from."""

    atomic = True

    kind: Annotated[Literal["TrainingRuntime", "ClusterTrainingRuntime"], SERVER_DEFAULT] = Field(
        default="ClusterTrainingRuntime", description="Kind of the runtime."
    )
    name: DnsSubdomain = Field(description="Name of the runtime.", examples=["torch"])


class Elastic(Model):
    """Bounds within which the gang may shrink and grow."""

    min_nodes: NodeCount = Field(
        description="Fewest nodes the job runs on: with fewer it waits. While there are fewer than nodes, it runs with "
        "those that it has, and grows when there are more.",
        examples=[2],
    )
    max_nodes: NodeCount = Field(description="Most to which nodes may be raised later.", examples=[8])

    rules = (
        Rule(
            "self.minNodes <= self.maxNodes",
            "minNodes must not be greater than maxNodes",
            lambda it: it["minNodes"] <= it["maxNodes"],
        ),
    )


class InputChannel(Model):
    """A named data channel: a folder that each node finds filled before training starts."""

    name: Annotated[str, Field(min_length=1, max_length=40, pattern=INPUT_NAME_PATTERN)] = Field(
        description="Name by which the code finds the data.", examples=["train"]
    )
    uri: Uri = Field(description="Object, or prefix ending in '/'.", examples=["s3://datasets/fashion/train/"])
    secret_ref: LocalRef | None = Field(None, description="Credentials. Default: storage.secretRef.")
    mode: Literal["download"] = Field(default="download", description="download copies the data to the node's disk.")
    sha256: Sha256 | None = Field(
        None,
        description="SHA-256 in hex of the object; for a prefix, of the sorted lines '<sha256>  <relative path>\\n'.",
    )
    max_size: Bytes | None = Field(
        None,
        description="Most bytes that it may hold: of more nothing is fetched, and the run fails. Default: no limit.",
        examples=["100Mi"],
    )
    version: Annotated[int, Field(ge=0, le=10**15)] | None = Field(
        None,
        description="Version of the Delta Lake table that uri names: what it held then, whatever was written since; "
        "sha256 is that of its files of rows. Default: the newest.",
        examples=[12],
    )

    rules = (
        Rule(
            "!has(self.version) || self.uri.endsWith('/')",
            "version is for a Delta Lake table, which is a folder; let uri end in '/', or leave version out",
            lambda it: at(it, "version") is None or str(at(it, "uri")).endswith("/"),
            "version",
        ),
    )


class Sign(Model):
    """With what the finished model is signed."""

    secret_key_ref: NeededKeyRef = Field(
        description="A key of a Secret in the job's namespace: an elliptic curve private key (P-256, P-384 or P-521) "
        "in PEM, without a password.",
        examples=[{"name": "signing", "key": "key.pem"}],
    )


class Output(Model):
    """Where the finished model goes and in which formats."""

    uri: Uri = Field(
        description="Folder; the model lands in <uri>/<job>/<run>/.",
        examples=["s3://models/team-vision/fashion/"],
    )
    formats: Annotated[
        list[Literal["safetensors", "torchscript", "onnx", "torch-export"]],
        Field(min_length=1, max_length=4),
        SERVER_DEFAULT,
    ] = Field(default=["safetensors"], description="Formats of the model.")
    exclude: Annotated[list[Annotated[str, Field(max_length=256, pattern=FILE_PATTERN)]], Field(max_length=32)] = Field(
        default=[],
        description="Files and folders that are left out of the model: names at any depth, or paths with a '/'; * is "
        "any text, ? one character.",
        examples=[["optimizer.pt", "checkpoint-*"]],
    )
    sign: Sign | None = Field(
        None,
        description="Signs the model as OpenSSF model-signing does: model.sig beside its files, which `model_signing "
        "verify key` and `footplate artifact verify --key` hold against a public key. Node 0's pod alone gets the key; "
        "the code that runs in it could read it. Default: no signature.",
    )

    rules = (
        Rule(
            "!has(self.formats) || self.formats.all(f, self.formats.exists_one(g, f == g))",
            "formats must differ",
            lambda it: len(set(at(it, "formats") or ())) == len(at(it, "formats") or ()),
            "formats",
        ),
    )


def _has_runtime(spec: Mapping[str, Any]) -> bool:
    return at(spec, "runtimeRef") is not None


def _is_within_elastic(spec: Mapping[str, Any]) -> bool:
    least, most = at(spec, "elastic", "minNodes"), at(spec, "elastic", "maxNodes")
    return at(spec, "elastic") is None or (at(spec, "nodes") is not None and least <= spec["nodes"] <= most)


def _says_where_checkpoints_go(spec: Mapping[str, Any]) -> bool:
    return at(spec, "checkpoint") is None or at(spec, "checkpoint", "uri") is not None


def _names_volumes(spec: Mapping[str, Any]) -> bool:
    volumes = {at(volume, "name") for volume in at(spec, "podTemplate", "volumes") or ()}
    return all(at(mount, "name") in volumes for mount in at(spec, "podTemplate", "volumeMounts") or ())


class TrainingJobSpec(Model):
    """What a user asks for. Resolved (merged over its runtime), it is what the operator and the trainer read."""

    runtime_ref: RuntimeRef | None = Field(None, description="The blueprint this job starts from.")
    trainer: Trainer = Field(default=Trainer(), description="What runs in each pod.")
    nodes: Annotated[NodeCount, MUTABLE_IF_ELASTIC] = Field(
        default=1,
        description="Pods in the gang. Where elastic is set, the most: the gang runs with anything from "
        "elastic.minNodes up to it, and `kubectl scale` changes it.",
        examples=[4],
    )
    processes_per_node: ProcessCount = Field(
        default="auto",
        description="Ranks in each pod; auto is the accelerators in resources.limits, else 1.",
    )
    elastic: Elastic | None = Field(
        None,
        description="Lets the gang shrink when nodes are lost and grow when there are more, with the same global "
        "batch; needs checkpoint, else each change starts training over. Default: a fixed gang.",
    )
    resources: Resources = Field(default=Resources(), description="Resources of each pod.")
    inputs: Annotated[ByName[InputChannel], Field(max_length=32)] = Field(default=[], description="Data channels.")
    data: Data | None = Field(
        None,
        description="How the data are divided, and what must be true of them. Default: they are taken as they are.",
    )
    checkpoint: Checkpoint | None = Field(None, description="Checkpoints. Default: none are saved.")
    output: Output | None = Field(None, description="The finished model. Default: none is saved.")
    evaluation: Evaluation | None = Field(
        None, description="What is measured of the finished model, and what it must reach. Default: no gates."
    )
    tracking: Tracking | None = Field(None, description="Experiment trackers that hear of the run. Default: none.")
    storage: Storage = Field(default=Storage(), description="Credentials and endpoint for the URIs above.")
    run_policy: RunPolicy = Field(default=RunPolicy(), description="Restarts, limits and cleaning up.")
    scheduling: Scheduling = Field(default=Scheduling(), description="How the gang is placed.")
    pod_template: PodTemplate = Field(default=PodTemplate(), description="Details of the pods.")

    rules = (
        Rule(
            "!has(self.elastic) || "
            "(has(self.nodes) && self.nodes >= self.elastic.minNodes && self.nodes <= self.elastic.maxNodes)",
            "an elastic job needs nodes, between elastic.minNodes and elastic.maxNodes",
            _is_within_elastic,
            "nodes",
        ),
        Rule(
            "has(self.runtimeRef) || (has(self.trainer) && has(self.trainer.image))",
            "trainer.image is required: name the trainer's image here, or a runtime that has one in runtimeRef",
            lambda spec: _has_runtime(spec) or at(spec, "trainer", "image") is not None,
        ),
        Rule(
            "has(self.runtimeRef) || (has(self.trainer) && "
            "(has(self.trainer.recipe) || has(self.trainer.entrypoint) || has(self.trainer.command)))",
            "set one of trainer.recipe, trainer.entrypoint and trainer.command, or a runtime that does in runtimeRef",
            lambda spec: _has_runtime(spec) or count(at(spec, "trainer") or {}, *ENTRY_KINDS) > 0,
        ),
        Rule(
            "has(self.runtimeRef) || !has(self.checkpoint) || has(self.checkpoint.uri)",
            "checkpoint.uri is required: say where checkpoints go, or name a runtime that does in runtimeRef",
            lambda spec: _has_runtime(spec) or _says_where_checkpoints_go(spec),
        ),
        Rule(
            "has(self.runtimeRef) || !has(self.podTemplate) || !has(self.podTemplate.volumeMounts) || "
            "self.podTemplate.volumeMounts.all(m, has(self.podTemplate.volumes) && "
            "self.podTemplate.volumes.exists(v, v.name == m.name))",
            "each of volumeMounts must name one of podTemplate.volumes; add the volume, or correct the name",
            lambda spec: _has_runtime(spec) or _names_volumes(spec),
            "podTemplate.volumeMounts",
        ),
        *TRACKING_RULES,
        *DATA_RULES,
        *GANG_RULES,
        *RESOURCE_RULES,
    )


class JobMetadata(Model):
    """The part of Kubernetes' metadata that this API has rules for; the rest is the API server's."""

    model_config = Model.model_config | {"extra": "ignore"}

    name: Annotated[str, Field(default="", max_length=253)]
    namespace: str = "default"
    uid: str = ""


def _has_short_name(job: Mapping[str, Any]) -> bool:
    name = at(job, "metadata", "name") or ""
    if at(job, "metadata") is None:
        return True  # which is said already
    return len(name) <= MAX_NAME_LENGTH and re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name) is not None


class TrainingJob(Model):
    """A managed training job: code, data, nodes, checkpoints and the model that comes out."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["TrainingJob"] = "TrainingJob"
    metadata: JobMetadata
    spec: TrainingJobSpec = Field(description="What is asked for.")
    status: TrainingJobStatus | None = Field(None, description="What is seen. Written by the operator alone.")

    rules = (
        Rule(
            f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && "
            "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            f"metadata.name must be a DNS label of at most {MAX_NAME_LENGTH} characters that begins with a letter "
            "(pod names append run, attempt and rank); choose a shorter or simpler name",
            _has_short_name,
            "metadata.name",
        ),
        NO_HOST_PATH,
    )
