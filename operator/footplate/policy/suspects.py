"""Nodes that no job's failure speaks against, but what NVIDIA's driver has said of their GPUs. Pure.

DCGM's exporter shows the last XID error of each GPU (`DCGM_FI_DEV_XID_ERRORS`, 0 where there was none) for as long as
it runs, be it for weeks. What is new within the hour makes a node suspect; what was there an hour ago doesn't.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

from footplate.policy.plan import Event
from footplate.policy.reasons import Reason
from footplate.text import clean

FATAL_XIDS: Mapping[int, str] = {
    46: "GPU stopped processing",
    48: "uncorrectable (double bit) ECC error",
    62: "internal micro-controller halt",
    64: "a bad row of memory couldn't be remapped",
    74: "NVLink error",
    79: "GPU has fallen off the bus",
    95: "uncontained ECC error",
    119: "the GPU's system processor doesn't answer",
    120: "error of the GPU's system processor",
    140: "unrecovered ECC error",
}
"""XID errors after which a GPU, or its node, has to be reset or looked at before it can be relied on. Not among them is
what an application has done (13, 31, 43, 45), and what the GPU has dealt with itself (63, 92, 94).
"""

NODE_LABELS = ("node", "Hostname", "kubernetes_node", "nodename")
"""Where a series says which node it is of: as its scrape configuration attaches it, else as the exporter does."""

_BY = f"max by ({', '.join((*NODE_LABELS, 'gpu', 'UUID'))})"
QUERY = (
    f"({_BY} (DCGM_FI_DEV_XID_ERRORS) > 0) unless "
    f"({_BY} (DCGM_FI_DEV_XID_ERRORS) == {_BY} (DCGM_FI_DEV_XID_ERRORS offset 1h))"
)
MOST_NODES = 64
"""Nodes that are kept away from at the same time: each is a term of every pod's affinity."""
_MOST_TOLD = 8


class Reading(Protocol):
    """A sample of `QUERY`."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Of the series."""

    @property
    def value(self) -> float:
        """The XID."""


def find(readings: Iterable[Reading], nodes: Collection[str]) -> dict[str, str]:
    """The suspect nodes, with why: one reason each."""
    found: dict[str, str] = {}
    for reading in sorted(readings, key=lambda each: sorted(each.labels.items())):
        node = next((reading.labels[name] for name in NODE_LABELS if reading.labels.get(name) in nodes), None)
        words = FATAL_XIDS.get(int(reading.value))
        if node is not None and words is not None and len(found) < MOST_NODES:
            gpu = clean(reading.labels.get("gpu", ""), most=16)
            found.setdefault(node, f"XID {int(reading.value)} ({words})" + (f" of GPU {gpu}" if gpu else ""))
    return found


def kept_away(suspects: Mapping[str, str], *, attempt: int) -> Iterator[Event]:
    """Which nodes an attempt that begins keeps away from, if any."""
    if suspects:
        named = [f"{node}: {why}" for node, why in sorted(suspects.items())[:_MOST_TOLD]]
        more = f" and {len(suspects) - _MOST_TOLD} more" if len(suspects) > _MOST_TOLD else ""
        message = (
            f"attempt {attempt} keeps away from {'; '.join(named)}{more}, as long as there are other nodes, for an "
            "hour from when that was seen. Look at the node's `dmesg`, and reset or drain it"
        )
        yield Event("Warning", Reason.SUSPECT_NODE, clean(message), "Schedule")
