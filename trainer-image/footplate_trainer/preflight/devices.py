"""A second of work on one device: what it has of memory, how fast it computes, and whether right."""

import os
import time
from pathlib import Path

import torch

SECONDS = 1.0
SIZE = {"cuda": 8192, "cpu": 512}
"""Of square matrices: large enough for a device's full speed, and a few milliseconds a product."""
TOLERANCE = 0.01
_CGROUP = Path("/sys/fs/cgroup")


def free_memory(device: torch.device) -> int:
    """Bytes that are free: of a GPU's memory, or of what this pod may have of the node's."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        limit = int((_CGROUP / "memory.max").read_text()) - int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):  # no limit, or none of this version of cgroups
        return free
    return min(free, limit)


def compute(device: torch.device, seconds: float = SECONDS) -> tuple[float, str]:
    """TFLOP/s of dense matrix products over so many seconds of wall time, and what is wrong with the last one; empty
    where nothing is.

    The mean and not the best: a device that throttles, or is shared, is as slow as it is on the whole.
    """
    size = SIZE[device.type]
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    generator = torch.Generator(device).manual_seed(1)
    left, right = (torch.rand(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
    product = left @ right
    _synchronize(device)
    started, products = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds or not products:
        product = left @ right
        products += 1
        if products % 16 == 0 or device.type == "cpu":
            _synchronize(device)
    _synchronize(device)
    elapsed = time.monotonic() - started
    return 2 * size**3 * products / elapsed / 1e12, _mistake(left, right, product)


def _synchronize(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _mistake(left: torch.Tensor, right: torch.Tensor, product: torch.Tensor) -> str:
    """Compares sums over the product's rows with those that the factors give: numbers are positive, so that rounding
    can't hide an error among terms that cancel.
    """
    ones = torch.ones(right.shape[1], dtype=torch.float32, device=right.device)
    expected = left.float() @ (right.float() @ ones)
    found = product.float() @ ones
    worst = float(((found - expected).abs() / expected).max())
    return "" if worst < TOLERANCE else f"its matrix products are wrong, by {100 * worst:.3g} %"
