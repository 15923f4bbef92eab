"""Which device a rank computes on, and why not if it can't.

A pod that asks for accelerators is never trained on the CPU in silence: what it asks for and what torch sees are
compared before the program runs. The decisions are pure: what torch sees is an argument (`Seen`).
"""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from footplate.contract import PRETENDED_ACCELERATORS
from footplate_trainer.errors import BrokenDevice, ConfigError

if TYPE_CHECKING:
    import torch

    from footplate.contract import JobConfig

NVIDIA, AMD = "nvidia.com/", "amd.com/"
MIG = "nvidia.com/mig-"
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_AMD_DRIVER = Path("/sys/module/amdgpu/version")
_HIDING = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_LISTED_MIG = re.compile(r"\(UUID: (MIG-[^)]+)\)")


@dataclass(frozen=True, slots=True)
class Seen:
    """What torch, and the kernel, say of this pod's accelerators."""

    count: int = 0
    torch: str = ""
    """Version of the wheel."""
    cuda: str | None = None
    """CUDA version that the wheel is built for."""
    hip: str | None = None
    """The same of ROCm."""
    driver: str = ""
    """The driver's version; empty where there is none."""
    why: str = ""
    """What torch says of having none."""
    restricted: str = ""
    """Value of the variable by which the job itself hides devices."""


def choose(
    local_rank: int, local_world_size: int, asked: Mapping[str, int], *, count: int, one_each: bool = False
) -> "torch.device":
    """A rank's device, where torch sees `count` of them. Raises nothing: `problem` says what is wrong.

    Ranks that ask for none and outnumber the devices compute on the CPU, all of them.

    Args:
        local_rank: among the processes of the pod.
        local_world_size: their number.
        asked: accelerators that the pod asks for, by resource name.
        count: devices that torch sees.
        one_each: each process sees one device alone, its own.
    """
    import torch

    if not count or (not asked and not one_each and count < local_world_size):
        return torch.device("cpu")
    return torch.device("cuda", 0 if one_each else local_rank)


def problem(
    local_world_size: int, asked: Mapping[str, int], seen: Seen, *, one_each: bool = False
) -> ConfigError | BrokenDevice | None:
    """Why ranks of a pod that asks for accelerators can't compute on them; None where they can, or ask for none."""
    if not asked:
        return None
    foreign = sorted(name for name in asked if not name.startswith((NVIDIA, AMD)))
    names = ", ".join(f"{name}: {count}" for name, count in asked.items())
    if foreign:
        return ConfigError(
            f"spec.resources.limits has {names}, and recipes and entrypoints compute on NVIDIA's and AMD's GPUs alone: "
            f"torch drives no {foreign[0]} here. Use trainer.command, with the maker's own software in the image, or "
            "ask for other accelerators"
        )
    if not seen.count:
        return ConfigError(f"spec.resources.limits has {names}, but torch sees no device: {_why_none(asked, seen)}")
    if one_each or seen.count >= local_world_size:
        return None
    text = f"this pod has {local_world_size} ranks, and torch sees {seen.count} of its devices ({names})"
    if seen.restricted:
        return ConfigError(f"{text}: {seen.restricted} hides the others; leave it out of trainer.env")
    if sum(asked.values()) < local_world_size:
        return ConfigError(f"{text}; each rank needs one of its own: set spec.processesPerNode to auto")
    if any(".shared" in name for name in asked):
        return ConfigError(
            f"{text}: shares of one device, which NCCL takes for one; ask for 1, or set spec.processesPerNode to 1"
        )
    return BrokenDevice(
        f"{text}: the node has given fewer than were asked for, as when one is lost; driver {seen.driver or 'unknown'}"
    )


def _why_none(asked: Mapping[str, int], seen: Seen) -> str:
    maker = "NVIDIA" if any(name.startswith(NVIDIA) for name in asked) else "AMD"
    built = f"torch {seen.torch} is built for " + (
        f"CUDA {seen.cuda}" if seen.cuda else f"ROCm {seen.hip}" if seen.hip else "the CPU alone"
    )
    driver = f"{maker}'s driver here is {seen.driver}" if seen.driver else f"there is no driver of {maker} in the pod"
    if seen.restricted:
        way = f"{seen.restricted} hides devices; leave it out of trainer.env"
    elif not (seen.cuda if maker == "NVIDIA" else seen.hip):
        way = f"use an image whose torch is built for {'CUDA' if maker == 'NVIDIA' else 'ROCm'}"
    elif not seen.driver:
        way = "have the node's container runtime bring its driver (runtimeClassName, the maker's device plugin)"
    else:
        way = "use an image whose torch is built for what this driver can, or a node with a newer driver"
    said = f"; torch says: {seen.why}" if seen.why else ""
    return f"{built}, and {driver}{said}. To train, {way}; to train on the CPU, ask for no accelerators"


def look() -> Seen:
    """Asks torch and the kernel."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    hiding = next((name for name in _HIDING if name in os.environ and not has_own()), "")
    return Seen(
        count=count,
        torch=str(torch.__version__),
        cuda=torch.version.cuda,
        hip=torch.version.hip,
        driver=_driver_version(),
        why="" if count else _why(torch),
        restricted=f"{hiding}={os.environ[hiding]}" if hiding else "",
    )


def _why(torch: object) -> str:
    try:
        torch.cuda.init()  # type: ignore[attr-defined]
    except Exception as error:  # whatever it is, it is the reason
        return str(error).strip().partition("\n")[0][:300]
    return ""


def _driver_version() -> str:
    try:
        found = re.search(r"Module\s+(?:for \S+\s+)?(\d[\d.]+)", _NVIDIA_DRIVER.read_text())
        return found[1] if found else "of an unknown version"
    except OSError:
        pass
    try:
        return _AMD_DRIVER.read_text().strip() or "of an unknown version"
    except OSError:
        return ""


def asked_for(config: "JobConfig | None") -> dict[str, int]:
    """Accelerators of each pod, by resource name; none where they are only pretended, as the devcluster's are."""
    if config is None or os.environ.get(PRETENDED_ACCELERATORS):
        return {}
    return {name: count for name, count in config.devices.items() if count}


def has_own(environ: Mapping[str, str] = os.environ) -> bool:
    """True where this process was given a MIG instance of its own: CUDA shows a process no other one."""
    return environ.get("CUDA_VISIBLE_DEVICES", "").startswith("MIG-")


def find(config: "JobConfig | None", local_rank: int, local_world_size: int) -> "torch.device":
    """This rank's device."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return choose(local_rank, local_world_size, asked_for(config), count=count, one_each=has_own())


def take(device: "torch.device") -> str | None:
    """Makes a device this process's own, and returns the backend of torch.distributed for its tensors; None for a CPU.

    MIG instances of one GPU are one device for NCCL, which refuses them: gloo sums their gradients.

    Raises:
        BrokenDevice: it can't be used.
    """
    import torch

    if device.type != "cuda":
        return None
    try:
        torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        text = str(error).strip().partition("\n")[0]
        raise BrokenDevice(f"{device} can't be used, of {torch.cuda.device_count()} devices: {text}") from error
    return "gloo" if "MIG" in torch.cuda.get_device_name(device) else "nccl"


def has_bf16(device: "torch.device") -> bool:
    """True where a device computes in bfloat16 by itself: torch also counts those that emulate it, and are slow."""
    import torch

    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def use_tf32(device: "torch.device") -> None:
    """Has matrix products of float32 computed in TF32, in the whole process; torch decides of convolutions."""
    import torch

    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")


def mig_instances(asked: Mapping[str, int], processes: int, environ: Mapping[str, str] = os.environ) -> Sequence[str]:
    """The pod's MIG instances, one a process; empty where processes need none of their own, or the user has chosen.

    Raises:
        ConfigError: there are fewer of them than processes.
    """
    nvidias = processes > 1 and any(name.startswith(NVIDIA) for name in asked)
    given = environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",")
    if not nvidias or environ.get("CUDA_VISIBLE_DEVICES") or all(name.startswith("GPU-") for name in given):
        return ()
    instances = given if all(name.startswith("MIG-") for name in given) else _LISTED_MIG.findall(_list_devices())
    if not instances and not any(name.startswith(MIG) for name in asked):
        return ()  # whole GPUs, of which each process sees all
    if len(instances) < processes:
        raise ConfigError(
            f"this pod has {processes} ranks and {len(instances)} MIG instances, as nvidia-smi lists them; each rank "
            "needs one of its own: set spec.processesPerNode to auto, or to 1"
        )
    return instances


def _list_devices() -> str:
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
