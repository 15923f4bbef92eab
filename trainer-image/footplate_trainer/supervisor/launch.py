"""What each process of a pod is started with: its command, its environment and its working directory. Pure.

A recipe or entrypoint is started once a rank, through `footplate_trainer.rank.program`. A `command` is started once a
node, as it is; its place in the gang is in the pod's environment, which is then the whole contract, and also speaks the
dialects of `footplate.dialects`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from footplate.api.trainer import Trainer
from footplate.dialects import environment as spoken
from footplate_trainer.errors import ConfigError
from footplate_trainer.supervisor import flight_recorder
from footplate_trainer.supervisor.dialect import place_of
from footplate_trainer.supervisor.packages import Installed
from footplate_trainer.supervisor.pod import Pod

RANK = ("-m", "footplate_trainer.rank.program")
"""What Python runs a rank with; the program's own arguments follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One process to start."""

    rank: int
    """Its rank; for a `command`, the node's first."""
    command: Sequence[str]
    env: Mapping[str, str]
    folder: Path


def plan_launches(
    pod: Pod,
    source: Path,
    environ: Mapping[str, str] = os.environ,
    *,
    instances: Sequence[str] = (),
    installed: Installed | None = None,
) -> list[Launch]:
    """The processes of this pod: one a rank, or the one `command`.

    Args:
        pod: this one.
        source: the folder of the user's code; empty where it has none.
        environ: this process's environment.
        instances: the MIG instance of each rank of this pod, where each sees its own alone.
        installed: what was installed for the job, whose Python runs it then.

    Raises:
        ConfigError: there is no such working directory.
    """
    trainer, folder = pod.spec.trainer, _working_dir(pod.spec.trainer, source)
    shared = {**environ, **_python_path(source, environ)}
    place = place_of(pod, source, environ)
    if installed is not None:
        shared |= {"VIRTUAL_ENV": str(installed.folder), "PATH": _first_on_path(installed.python.parent, environ)}
    if trainer.command is not None:
        env = shared | spoken(place)
        return [Launch(rank=pod.first_rank, command=pod.arguments, env=env, folder=folder)]
    shared.setdefault("OMP_NUM_THREADS", str(max(1, (place.cpus or 1) // pod.processes)))
    if pod.config.devices:
        recordings = flight_recorder.folder_in(pod.work_dir)
        shared |= flight_recorder.settings(recordings, environ, flight_recorder.torch_version())
    python = str(installed.python) if installed is not None else sys.executable
    places = [replace(place, local_rank=local) for local in range(pod.processes)]
    launches = [_launch_rank(pod, local, shared | spoken(each), folder, python) for local, each in enumerate(places)]
    own = [{"CUDA_VISIBLE_DEVICES": instance, "JAX_LOCAL_DEVICE_IDS": "0"} for instance in instances] or [{}] * len(
        launches
    )
    return [replace(launch, env={**launch.env, **more}) for launch, more in zip(launches, own, strict=False)]


def _working_dir(trainer: Trainer, source: Path) -> Path:
    """Without a source a command finds what its image has where its image has it, as one that no supervisor starts. A
    recipe or entrypoint couldn't write there.
    """
    images_own = trainer.command is not None and trainer.source is None
    folder = (Path.cwd() if images_own else source) / (trainer.working_dir or "")
    if not folder.is_dir():
        raise ConfigError(
            f"spec.trainer.workingDir={trainer.working_dir}: there is no such folder in trainer.source or, as an "
            "absolute path, in trainer.image; correct it"
        )
    return folder


def _launch_rank(pod: Pod, local: int, shared: Mapping[str, str], folder: Path, python: str) -> Launch:
    rank, world = pod.first_rank + local, pod.nodes * pod.processes
    place = {
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(pod.processes),
        "NODE_RANK": str(pod.node_rank),
        "GROUP_RANK": str(pod.node_rank),
    }
    # One rank alone has no place among others: libraries that find one take themselves to be distributed.
    env = {**shared, **place} if world > 1 else shared
    return Launch(rank=rank, command=[python, *RANK, *pod.arguments], env=env, folder=folder)


def _python_path(source: Path, environ: Mapping[str, str]) -> dict[str, str]:
    rest = environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{source}{os.pathsep}{rest}" if rest else str(source)}


def _first_on_path(folder: Path, environ: Mapping[str, str]) -> str:
    return f"{folder}{os.pathsep}{environ.get('PATH', os.defpath)}"
