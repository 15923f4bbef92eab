"""Which of the resources in a pod's limits are accelerators: each gets a process, and its seconds are counted.

A name is one that a device plugin gives to what it hands out; `*` in it stands for any text without a slash. Whatever
isn't named here (network cards, shares of memory such as HAMi's nvidia.com/gpumem) is asked for and not counted.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from footplate.api.quantities import amount

ACCELERATORS = (
    "nvidia.com/gpu",
    "nvidia.com/gpu.shared",
    "nvidia.com/mig-*",
    "amd.com/gpu",
    "amd.com/*px_nps*",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
    "aws.amazon.com/neuroncore",
    "aws.amazon.com/neurondevice",
    "google.com/tpu",
)
"""What counts where the operator's `--accelerator` names nothing else."""

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9*]([-A-Za-z0-9_.*]*[A-Za-z0-9*])?$"
_GPU_MAKERS = ("nvidia.com/", "amd.com/", "gpu.intel.com/")


def check_names(names: Iterable[str]) -> None:
    """Raises ValueError for what can't be a resource's name with `*` in it."""
    for name in names:
        if not re.fullmatch(NAME_PATTERN, name):
            raise ValueError(
                f"{name!r} is no accelerator's name: write the maker's domain, a slash and the resource, in which * "
                "stands for any text, such as nvidia.com/gpu or nvidia.com/mig-*"
            )


def is_accelerator(resource: str, names: Sequence[str] = ACCELERATORS) -> bool:
    """Whether one of the names is this resource's."""
    return _compiled(tuple(names)).fullmatch(resource) is not None


def count(limits: Mapping[str, object], names: Sequence[str] = ACCELERATORS) -> dict[str, int]:
    """The accelerators among limits that keep the API's rules, by resource name."""
    return {name: int(amount(limits[name])) for name in limits if is_accelerator(name, names)}


def gpus(accelerators: Mapping[str, int]) -> int:
    """How many of them are GPUs, slices of them included."""
    return sum(many for name, many in accelerators.items() if name.startswith(_GPU_MAKERS))


@lru_cache(maxsize=64)
def _compiled(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name).replace(r"\*", "[^/]*") for name in names) or "(?!)")
