"""Where the checks run: a GPU and the real sizes, or this machine's CPU and tiny ones, to see that the checks work."""

from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Setting:
    """What the checks share."""

    device: torch.device
    folder: Path
    layers: int = 12
    heads: int = 12
    width: int = 768
    context: int = 1024
    vocabulary: int = 50_304
    batch: int = 16
    steps: int = 12
    """Of one block of the comparison."""
    blocks: int = 6

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @property
    def compiler(self) -> str:
        """Which of torch.compile's backends: on a CPU the one that calls no compiler."""
        return "inductor" if self.on_gpu else "eager"


def full(folder: Path) -> Setting:
    """GPT-2's smallest, of 124 M parameters."""
    device = torch.device("cuda", 0)
    large = not torch.cuda.is_available() or torch.cuda.get_device_properties(device).total_memory > 40e9
    return Setting(device, folder, batch=16 if large else 4)


def tiny(folder: Path) -> Setting:
    """The same in a second or two on a CPU."""
    sizes = {"layers": 2, "heads": 2, "width": 16, "context": 8, "vocabulary": 32, "batch": 2, "steps": 2, "blocks": 2}
    return Setting(torch.device("cpu"), folder, **sizes)


def wait_for(device: torch.device) -> None:
    """Returns when the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
