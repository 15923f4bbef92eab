"""What each process of a pod is started with: its command, its environment and its working directory. Pure.

A recipe or entrypoint is started once a rank, through `footplate_trainer.rank.program`. A `command` is started once a
node, as it is; the environment is then the whole contract, which also speaks torchrun's (PET_*), SageMaker's (SM_*) and
Vertex AI's (AIP_*) dialect.
"""

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from footplate.api.resources import Resources
from footplate_trainer.supervisor import flight_recorder
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
        source: the folder of the user's code.
        environ: this process's environment.
        instances: the MIG instance of each rank of this pod, where each sees its own alone.
        installed: what was installed for the job, whose Python runs it then.
    """
    trainer = pod.spec.trainer
    shared = {**environ, **_ported(pod), **_python_path(source, environ)}
    if installed is not None:
        shared |= {"VIRTUAL_ENV": str(installed.folder), "PATH": _first_on_path(installed.python.parent, environ)}
    if trainer.command is not None:
        env = shared | _torchrun(pod, environ) | _place(pod, rank=pod.node_rank, local=0, world=pod.nodes, here=1)
        return [Launch(rank=pod.first_rank, command=pod.arguments, env=env, folder=source)]
    shared.setdefault("OMP_NUM_THREADS", str(max(1, _cpus(pod.spec.resources) // pod.processes)))
    if pod.spec.resources.accelerators:
        folder = flight_recorder.folder_in(pod.work_dir)
        shared |= flight_recorder.settings(folder, environ, flight_recorder.torch_version())
    python = str(installed.python) if installed is not None else sys.executable
    launches = [_launch_rank(pod, local, shared, source, python) for local in range(pod.processes)]
    own = [{"CUDA_VISIBLE_DEVICES": instance} for instance in instances] or [{}] * len(launches)
    return [replace(launch, env={**launch.env, **more}) for launch, more in zip(launches, own, strict=False)]


def _launch_rank(pod: Pod, local: int, shared: Mapping[str, str], source: Path, python: str) -> Launch:
    rank, world = pod.first_rank + local, pod.nodes * pod.processes
    return Launch(
        rank=rank,
        command=[python, *RANK, *pod.arguments],
        env={**shared, **_place(pod, rank=rank, local=local, world=world, here=pod.processes)},
        folder=source,
    )


def _place(pod: Pod, *, rank: int, local: int, world: int, here: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(here),
        "NODE_RANK": str(pod.node_rank),
        "GROUP_RANK": str(pod.node_rank),
    }


def _torchrun(pod: Pod, environ: Mapping[str, str]) -> dict[str, str]:
    """A gang that is started anew as a whole needs no membership of torchrun's own: static, no restarts."""
    return {
        "PET_NNODES": str(pod.nodes),
        "PET_NPROC_PER_NODE": str(pod.processes),
        "PET_NODE_RANK": str(pod.node_rank),
        "PET_MASTER_ADDR": environ.get("MASTER_ADDR", "127.0.0.1"),
        "PET_MASTER_PORT": environ.get("MASTER_PORT", ""),
        "PET_RDZV_BACKEND": "static",
        "PET_MAX_RESTARTS": "0",
    }


def _ported(pod: Pod) -> dict[str, str]:
    """What scripts written for other platforms read."""
    channels = {
        f"SM_CHANNEL_{channel.name.upper().replace('-', '_')}": str(pod.input_dir / channel.name)
        for channel in pod.spec.inputs
    }
    return channels | {
        "SM_MODEL_DIR": str(pod.output_dir),
        "SM_OUTPUT_DATA_DIR": str(pod.output_dir / "data"),
        "SM_HPS": json.dumps(pod.spec.trainer.hyperparameters),
        "SM_HOSTS": json.dumps([pod.host_of(rank) for rank in range(pod.nodes)]),
        "SM_CURRENT_HOST": pod.host,
        "AIP_MODEL_DIR": str(pod.output_dir),
        "AIP_CHECKPOINT_DIR": str(pod.checkpoint_dir),
        "AIP_TENSORBOARD_LOG_DIR": str(pod.work_dir / "tensorboard"),
    }


def _python_path(source: Path, environ: Mapping[str, str]) -> dict[str, str]:
    rest = environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{source}{os.pathsep}{rest}" if rest else str(source), "PYTHONUNBUFFERED": "1"}


def _first_on_path(folder: Path, environ: Mapping[str, str]) -> str:
    return f"{folder}{os.pathsep}{environ.get('PATH', os.defpath)}"


def _cpus(resources: Resources) -> int:
    """Cores this pod may use: what it asks for, else what the kernel allows."""
    quantity = resources.limits.get("cpu") or resources.requests.get("cpu") or ""
    found = re.fullmatch(r"(\d+)(m?)", quantity)
    if found is None:
        return len(os.sched_getaffinity(0))
    return max(1, int(found[1]) // 1000 if found[2] else int(found[1]))
