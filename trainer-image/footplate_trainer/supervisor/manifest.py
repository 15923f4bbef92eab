"""What a model is made of and where it comes from: the content of its `manifest.json`."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from footplate.api.blocks import Source
from footplate.api.status import Metrics, Time
from footplate.api.types import Model
from footplate_trainer.exchange import RankReport
from footplate_trainer.storage.fetch import Fetched
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.source import Code


class File(Model):
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


class CodeRecord(Model):
    """What ran, and from where."""

    run: str
    source: Source | None = None
    sha256: str | None = None
    commit: str | None = None


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


class Manifest(Model):
    """`manifest.json`: what a model is made of and where it comes from."""

    api_version: Literal["footplate.dev/v1alpha1"] = "footplate.dev/v1alpha1"
    kind: Literal["ModelManifest"] = "ModelManifest"
    job: str
    namespace: str
    uid: str
    run: int
    attempt: int
    created: Time
    files: list[File]
    metrics: Metrics
    step: int | None = None
    epoch: int | None = None
    hyperparameters: dict[str, Any]
    seed: int | None = None
    inputs: dict[str, Input]
    image: str | None = None
    code: CodeRecord
    packages: dict[str, str]
    hardware: Hardware
    notes: list[str] = Field(default_factory=list)
    """What the user should know: the last of `status.notes`."""
    parent_checkpoint: str | None = None
    """URI of the checkpoint that the last attempt started from."""


def describe(
    pod: Pod,
    files: Sequence[File],
    *,
    report: RankReport,
    code: Code,
    inputs: Mapping[str, Fetched],
    created: datetime,
) -> Manifest:
    """The manifest of this run's model."""
    trainer = pod.spec.trainer
    return Manifest(
        job=pod.job,
        namespace=pod.config.metadata.namespace,
        uid=pod.uid,
        run=pod.run,
        attempt=pod.attempt,
        created=created,
        files=list(files),
        metrics=report.progress.metrics,
        step=report.progress.step,
        epoch=report.progress.epoch,
        hyperparameters=trainer.hyperparameters,
        seed=report.seed,
        inputs={
            channel.name: Input(
                uri=channel.uri,
                sha256=inputs[channel.name].sha256,
                files=inputs[channel.name].files,
                size_bytes=inputs[channel.name].size_bytes,
            )
            for channel in pod.spec.inputs
        },
        image=trainer.image,
        code=CodeRecord(
            run=trainer.recipe or trainer.entrypoint or " ".join(trainer.command or []),
            source=trainer.source,
            sha256=code.sha256,
            commit=code.commit,
        ),
        packages={package.name: package.version for package in sorted(distributions(), key=lambda found: found.name)},
        hardware=_hardware(pod, report),
        notes=list(report.notes),
        parent_checkpoint=report.resumed_from,
    )


def _hardware(pod: Pod, report: RankReport) -> Hardware:
    return Hardware(
        nodes=pod.nodes,
        processes_per_node=pod.processes,
        machine=platform.machine(),
        cpu=_cpu_model(),
        cpus=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        accelerators={name: count for name, count in pod.spec.resources.limits.items() if "/" in name},
        device=report.device,
    )


def _cpu_model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
