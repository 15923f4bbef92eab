"""The content of a model's `manifest.json`, which the supervisor writes and `checkpoint.initFrom` reads."""

from typing import Any, Literal

from pydantic import Field

from footplate.api.reports import EvaluationStatus, Metrics
from footplate.api.scalars import Time
from footplate.api.trainer import Source
from footplate.api.types import Model

Passed = Literal["recipe", "arguments", "context", "environment"]


class ModelFile(Model):
    """One file of the model."""

    name: str
    size_bytes: int
    sha256: str


class Input(Model):
    """The data of one channel; `sha256` is what InputChannel.sha256 would have to be."""

    uri: str
    sha256: str
    files: int
    size_bytes: int
    version: int | None = None
    """Of a Delta Lake table: what InputChannel.version would have to be."""


class CodeRecord(Model):
    """What ran, and from where."""

    run: str
    """The recipe, the entrypoint or the command."""
    command: list[str] | None = None
    args: list[str] = Field(default_factory=list)
    """As the job has them: what `$(NAME)` stands for may be a secret."""
    source: Source | None = None
    sha256: str | None = None
    commit: str | None = None
    installed: dict[str, str] | None = None
    """What was installed for it before the start, by name; the versions are also among `ModelManifest.packages`."""


class Hardware(Model):
    """What it ran on: node rank 0's machine, and how many of them."""

    nodes: int
    processes_per_node: int
    machine: str
    cpu: str
    cpus: int
    memory_bytes: int
    accelerators: dict[str, str]
    """Accelerators of each node, by resource name."""
    device: str | None = None


class ModelManifest(Model):
    """`manifest.json`: what a model is made of and where it comes from."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["ModelManifest"] = "ModelManifest"
    job: str
    namespace: str
    uid: str
    run: int
    attempt: int
    spec_sha256: str | None = None
    """Digest of the job's own spec, without what may change while it lives: by it a job that is created anew finds its
    model.
    """
    nonce: str | None = None
    """Digest of the `restartNonce` that the run has answered; empty for none."""
    created: Time
    files: list[ModelFile]
    metrics: Metrics
    evaluation: EvaluationStatus | None = None
    """What was measured of it, in short, and the gates of the job."""
    accepted: bool | None = None
    """Whether it has passed all of them; None where there are none. One that hasn't is kept to be looked at."""
    step: int | None = None
    epoch: int | None = None
    """Steps and epochs that the model has learnt from, which may be fewer than were trained."""
    ended: str | None = None
    """Why `Trainer.fit` has come to its end: one of `Ended`."""
    hyperparameters: dict[str, Any]
    hyperparameters_passed: list[Passed] = Field(default_factory=list)
    """How they reached the program: `recipe`, which uses all of them; `arguments`, which it was started with;
    `context()`, which it has called; `environment`, variables and job.json, which it may never have read.
    """
    seed: int | None = None
    inputs: dict[str, Input]
    image: str | None = None
    code: CodeRecord
    packages: dict[str, str]
    hardware: Hardware
    notes: list[str] = Field(default_factory=list)
    """What the user should know: the last of `status.notes`."""
    signature: str | None = None
    """Name of the file that signs all the others and this one."""
    parent_checkpoint: str | None = None
    """URI of the checkpoint that the last attempt started from."""
