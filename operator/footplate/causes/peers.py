"""What gloo, NCCL and CUDA say where another process or the device is to blame, and not the program that says it."""

import re
from typing import Final

_GLOO: Final = re.compile(
    r"\[\S*\bgloo/\S+:\d+\] .*(Connection (closed|reset|refused)|Broken pipe|time(d )?out|Socket closed|unreachable|"
    r"No route to host)|^Gloo connectFullMesh failed",
    re.IGNORECASE,
)
"""What gloo's transport says of a peer, after the place in its own source; sizes that don't match stand there too, and
are the user's.
"""
NCCL: Final = re.compile(
    r"unhandled system error|ncclSystemError|ncclRemoteError|remote process (has )?(exited|terminated)|"
    r"NCCL communicator was aborted|Watchdog caught collective operation timeout|"
    r"Received a dump signal due to a collective timeout|watchdog got stuck for \d+ ?seconds"
)
DEVICE: Final = re.compile(
    r"uncorrectable (ECC|NVLink) error|GPU is lost|fallen off the bus|hardware stack error|busy or unavailable|"
    r"system not yet initialized|over nvlink or a hardware error|MPS (client failed|server is not ready)",
    re.IGNORECASE,
)
_NATIVE_FORM: Final = re.compile(r"(\[Rank \d+\] )?NCCL (error|communicator)\b|(CUDA|HIP) error: ")
OWN: Final = re.compile(
    r"invalid (usage|argument)|ncclInvalid|out of memory|illegal memory access|device-side assert|shared memory|"
    r"EADDRINUSE",
    re.IGNORECASE,
)
"""What the same libraries say of mistakes that a program makes by itself."""


def lost_peer(type_: str, message: str, source: str) -> bool:
    """True if an exception in a log says that another rank is gone or doesn't answer, or that the device is broken.

    Args:
        type_: its class, with its module.
        message: its words.
        source: the line of Python that it came from: a `raise` there makes it the program's own.
    """
    if type_.startswith("torch.distributed.Dist") and not type_.endswith("QueueEmptyError"):
        return dist_blames_others(message)
    if source.startswith("raise ") or type_ not in ("RuntimeError", "torch.AcceleratorError"):
        return False
    return native_code_blames_others(message)


def dist_blames_others(message: str) -> bool:
    """True if an error of torch.distributed's own class isn't of the program's making."""
    return DEVICE.search(message) is not None or OWN.search(message) is None


def native_code_blames_others(message: str) -> bool:
    """True if native code has said so in the form that gloo, NCCL and CUDA give to their errors."""
    if _NATIVE_FORM.match(message) is None:
        return _GLOO.search(message) is not None
    return DEVICE.search(message) is not None or (NCCL.search(message) is not None and OWN.search(message) is None)
