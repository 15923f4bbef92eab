"""Makes a model's manifest: what the model is made of, and where it comes from."""

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from footplate.api.reports import EvaluationStatus
from footplate.api.trainer import Trainer
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import CodeRecord, Hardware, Input, ModelFile, ModelManifest, Passed
from footplate_trainer.signature import SIGNATURE
from footplate_trainer.storage.fetch import Fetched
from footplate_trainer.supervisor.packages import installed_versions
from footplate_trainer.supervisor.pod import Pod
from footplate_trainer.supervisor.source import Code


def make_manifest(
    pod: Pod,
    files: Sequence[ModelFile],
    *,
    report: RankReport,
    code: Code,
    inputs: Mapping[str, Fetched],
    created: datetime,
    evaluation: EvaluationStatus | None = None,
) -> ModelManifest:
    """The manifest of this run's model."""
    trainer, model = pod.spec.trainer, report.model
    return ModelManifest(
        job=pod.job,
        namespace=pod.config.metadata.namespace,
        uid=pod.uid,
        run=pod.run,
        attempt=pod.attempt,
        spec_sha256=pod.spec_sha256 or None,
        nonce=pod.nonce if pod.spec_sha256 else None,
        created=created,
        files=list(files),
        metrics=report.final_metrics,
        evaluation=evaluation,
        accepted=evaluation.accepted if evaluation is not None else None,
        step=report.progress.step if model is None else model.step,
        epoch=report.progress.epoch if model is None else model.epoch,
        ended=report.ended,
        hyperparameters=trainer.hyperparameters,
        hyperparameters_passed=_passed(trainer, report),
        seed=report.seed,
        inputs={
            channel.name: Input(
                uri=channel.uri,
                sha256=inputs[channel.name].sha256,
                files=inputs[channel.name].files,
                size_bytes=inputs[channel.name].size_bytes,
                version=inputs[channel.name].version,
            )
            for channel in pod.spec.inputs
        },
        image=trainer.image,
        code=CodeRecord(
            run=trainer.recipe or trainer.entrypoint or " ".join(trainer.command or []),
            command=trainer.command,
            args=trainer.args,
            source=trainer.source,
            sha256=code.sha256,
            commit=code.commit,
            installed=dict(code.installed.versions) if code.installed is not None else None,
        ),
        packages=installed_versions([*([str(code.installed.site)] if code.installed is not None else []), *sys.path]),
        hardware=_hardware(pod, report),
        notes=list(report.notes),
        signature=SIGNATURE if pod.spec.output is not None and pod.spec.output.sign is not None else None,
        parent_checkpoint=report.resumed_from,
    )


def _passed(trainer: Trainer, report: RankReport) -> list[Passed]:
    if not trainer.hyperparameters:
        return []
    if trainer.recipe is not None:
        return ["recipe"]
    # It is context() that tells a seed.
    named: dict[Passed, bool] = {
        "arguments": trainer.hyperparameter_args,
        "context": report.seed is not None,
        "environment": True,
    }
    return [way for way, is_used in named.items() if is_used]


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
