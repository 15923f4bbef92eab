"""Copies of tensors in host memory, which the background may write while training changes the originals.

The memory is kept from one checkpoint to the next: to get fresh pages takes longer than to fill them. What comes from a
GPU is staged in pages that the driver has pinned, which it fills several times as fast and without the process: all
copies are under way before the first is waited for.
"""

import logging
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger("footplate_trainer")


class HostCopies:
    """See the module. It holds as much memory as the last state of each part, until it is let go."""

    def __init__(self) -> None:
        self._memory: dict[str, dict[str, Tensor]] = {}
        self._pins = True
        """The driver has refused no memory yet."""

    def take(self, tensors: Mapping[str, Tensor], *, part: str) -> dict[str, Tensor]:
        """Copies of tensors, valid until the next `take` of the same part."""
        copies, self._memory[part] = self._begin(tensors, self._memory.get(part, {}))
        _wait(tensors)
        return copies

    def _begin(
        self, tensors: Mapping[str, Tensor], memory: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        copies = {}
        for name, tensor in tensors.items():
            copy = memory.get(name)
            if copy is None or copy.shape != tensor.shape or copy.dtype != tensor.dtype:
                copy = self._allocate(tensor)
            copies[name] = copy.copy_(tensor.detach(), non_blocking=tensor.device.type == "cuda")
        return copies, dict(copies)

    def _allocate(self, tensor: Tensor) -> Tensor:
        memory = torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")
        if tensor.device.type == "cuda" and self._pins and memory.nbytes:
            self._pins = _pin(memory)
            if not self._pins:
                log.warning("the driver pins no more host memory: checkpoints are copied from the GPU more slowly")
        return memory


def _wait(tensors: Mapping[str, Tensor]) -> None:
    """Waits, in this thread, for what it has begun to copy from each device. In another thread that might break a CUDA
    graph that is being captured.
    """
    for device in {tensor.device for tensor in tensors.values() if tensor.device.type == "cuda"}:
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(device))
        event.synchronize()


def _pin(memory: Tensor) -> bool:
    """Has the driver pin a tensor's pages, as many as there are: torch's own pinned memory comes in powers of two."""
    cudart: Any = torch.cuda.cudart()
    address = memory.data_ptr()
    if int(cudart.cudaHostRegister(address, memory.nbytes, 0)) != 0:
        return False
    weakref.finalize(memory.untyped_storage(), cudart.cudaHostUnregister, address).atexit = False
    return True
