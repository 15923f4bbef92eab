"""What devices could compute at most, and how much of it training uses (MFU). Pure.

The peaks are those of matrix products of dense bfloat16 (of Volta and Turing, which have none, float16), from NVIDIA's
data sheets, whose figures "with sparsity" are halved: each device's page below
https://www.nvidia.com/en-us/data-center/.
MFU is told in that measure whatever precision training computes in, as papers do.
"""

from collections.abc import Mapping
from typing import Final

PEAK_TERAFLOPS: Final[Mapping[str, float]] = {
    "B200": 2250.0,
    "H200 NVL": 835.5,
    "H200": 989.5,
    "H100 PCIe": 756.5,
    "H100 NVL": 835.5,
    "H100": 989.5,
    "H20": 148.0,
    "A100": 312.0,
    "A40": 149.7,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.05,
    "L40": 181.05,
    "L4": 121.0,
    "V100 PCIE": 112.0,
    "V100": 125.0,
    "T4": 65.0,
}
"""By a part of the name that CUDA gives a device; of several that are in a name the first counts."""


def peak_flops(device: str | None) -> float | None:
    """Floating point operations a second of a device, such as `NVIDIA H100 80GB HBM3`; None where that isn't known."""
    words = (device or "").replace("-", " ").split()
    if "MIG" in words:  # a part of one, of which the name says no peak
        return None
    for name, peak in PEAK_TERAFLOPS.items():
        parts = name.split()
        if all(part in words for part in parts):
            return peak * 1e12
    return None


def mfu(flops_per_second: float | None, *, device: str | None, devices: int) -> float | None:
    """What all ranks compute of what their devices, each like `device`, could; None where either isn't known."""
    peak = peak_flops(device)
    return flops_per_second / (peak * devices) if flops_per_second is not None and peak else None
