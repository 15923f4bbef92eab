"""What a pod is given of other platforms' dialects: variables, and the folders of /opt/ml. Pure.

Where our supervisor runs, it says all that the table has, and knows more; the pod then has only what `args` may refer
to. A bare command gets here what the operator can know.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from footplate.api.accelerators import gpus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import SAGEMAKER_FOLDER, SCRATCH_FOLDERS, Env, JobConfig, MountPath, rendezvous_port
from footplate.dialects import VARIABLES, Place, Setter, environment, hyperparameter_arguments
from footplate.objects import Object

MAX_VALUE_BYTES = 8_192
"""Of a variable in a pod, of which the API server keeps a copy for each node of the gang."""

ML = PurePosixPath("/opt/ml")
ML_FOLDERS = {
    "model": SCRATCH_FOLDERS[Env.OUTPUT_DIR],
    "checkpoints": SCRATCH_FOLDERS[Env.CHECKPOINT_DIR],
    "input": f"{SCRATCH_FOLDERS[Env.WORK_DIR]}/{SAGEMAKER_FOLDER}/input",
    "output": f"{SCRATCH_FOLDERS[Env.WORK_DIR]}/{SAGEMAKER_FOLDER}/output",
}
"""What SageMaker mounts there, with the folder of the scratch volume that it is here; an image's /opt/ml/code stays."""


def place_in(
    config: JobConfig, spec: TrainingJobSpec, *, attempt: int, hosts: Sequence[str], node_rank: int, processes: int
) -> Place:
    """Where a pod stands in its gang, as far as the operator can know."""
    trainer = spec.trainer
    folder = {name: f"{MountPath.SCRATCH}/{each}" for name, each in SCRATCH_FOLDERS.items()}
    return Place(
        spec=spec,
        job=config.metadata.name,
        run=config.run,
        attempt=attempt,
        hosts=hosts,
        port=rendezvous_port(config.metadata.uid, config.run, attempt),
        node_rank=node_rank,
        processes=processes,
        arguments=[*trainer.args, *hyperparameter_arguments(trainer)],
        output_dir=folder[Env.OUTPUT_DIR],
        checkpoint_dir=folder[Env.CHECKPOINT_DIR],
        tensorboard_dir=folder[Env.LOGS_DIR],
        code_dir=str(MountPath.SOURCE) if trainer.source is not None else None,
        cpus=spec.resources.cpus,
        gpus=gpus(config.devices),
    )


def dialect_variables(place: Place, *, supervised: bool) -> dict[str, str]:
    """By name, for the API server: it would expand what looks like a reference."""
    setters = {Setter.OPERATOR} if supervised else {Setter.OPERATOR, Setter.EITHER}
    said = environment(place, [row for row in VARIABLES if row.setter in setters], most=MAX_VALUE_BYTES)
    return {name: value.replace("$", "$$") for name, value in said.items()}


def ml_mounts(spec: TrainingJobSpec, *, scratch: str) -> Iterator[Object]:
    """Mounts of the volume `scratch`, but for those whose place the job has for a volume of its own."""
    own = [PurePosixPath(mount.mount_path) for mount in spec.pod_template.volume_mounts]
    for name, folder in ML_FOLDERS.items():
        path = ML / name
        if not any(path.is_relative_to(other) or other.is_relative_to(path) for other in own):
            yield {"name": scratch, "mountPath": str(path), "subPath": folder}
