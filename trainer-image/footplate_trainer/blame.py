"""Whether a rank's failure is a lost peer's or a broken device's, and so not its user's. Pure, and without torch.

Words alone prove nothing: a user's own error may say "gloo", "Broken pipe" or "timed out". What counts is an error of
torch.distributed's own class, or one that native code has raised, not a `raise` in Python, and that has the form which
gloo, NCCL and CUDA give to theirs; or a SIGABRT that NCCL's watchdog has announced in the log.
"""

import dis
import re
from typing import Final

from footplate_trainer.errors import PeerLost, chain_of

_GLOO: Final = re.compile(
    r"\[\S*\bgloo/\S+:\d+\] .*(Connection (closed|reset|refused)|Broken pipe|time(d )?out|Socket closed|unreachable|"
    r"No route to host)|^Gloo connectFullMesh failed",
    re.IGNORECASE,
)
"""What gloo's transport says of a peer, after the place in its own source; sizes that don't match stand there too, and
are the user's.
"""
_NCCL: Final = re.compile(
    r"unhandled system error|ncclSystemError|ncclRemoteError|remote process (has )?(exited|terminated)|"
    r"NCCL communicator was aborted|Watchdog caught collective operation timeout|"
    r"Received a dump signal due to a collective timeout|watchdog got stuck for \d+ ?seconds"
)
_DEVICE: Final = re.compile(
    r"uncorrectable (ECC|NVLink) error|GPU is lost|fallen off the bus|hardware stack error|busy or unavailable|"
    r"system not yet initialized|over nvlink or a hardware error|MPS (client failed|server is not ready)",
    re.IGNORECASE,
)
_NATIVE_FORM: Final = re.compile(r"(\[Rank \d+\] )?NCCL (error|communicator)\b|(CUDA|HIP) error: ")
_OWN: Final = re.compile(
    r"invalid (usage|argument)|ncclInvalid|out of memory|illegal memory access|device-side assert|shared memory|"
    r"EADDRINUSE",
    re.IGNORECASE,
)
"""What the same libraries say of mistakes that a program makes by itself."""
_WATCHDOG: Final = re.compile(
    r"^(?:\[rank\d+\]:\s*)?\[[EF][^\]\n]*\bProcessGroupNCCL\.cpp:\d+\] "
    r"(.+(?:\n(?!Exception raised from|\[|frame #).+){0,4})",
    re.MULTILINE,
)
"""A line of the log that torch's NCCL has written, and what goes on below it."""


def lost_peer(error: BaseException) -> bool:
    """True if an exception, or what it comes from, says that another rank is gone or doesn't answer, or that the device
    is broken.
    """
    return any(isinstance(link, PeerLost) or _is_torchs(link) or _is_native(link) for link in chain_of(error))


def watchdogs_words(log: str) -> str:
    """Why NCCL's watchdog has ended a process, if its peers or its device are to blame; else empty.

    Args:
        log: the end of what the process has written to stderr.
    """
    said = [match[1] for match in _WATCHDOG.finditer(log)]
    if any(_OWN.search(words) and not _DEVICE.search(words) for words in said):
        return ""
    found = next((words for words in said if _NCCL.search(words) or _DEVICE.search(words)), "")
    return " ".join(found.split())


def _is_torchs(error: BaseException) -> bool:
    distributed = any((kind.__module__, kind.__name__) == ("torch.distributed", "DistError") for kind in _kinds(error))
    if not distributed or type(error).__name__ == "DistQueueEmptyError":
        return False
    text = str(error)
    return _DEVICE.search(text) is not None or _OWN.search(text) is None


def _is_native(error: BaseException) -> bool:
    native = type(error) is RuntimeError or any(kind.__module__ == "torch" for kind in _kinds(error))
    if not native or not _raised_outside_python(error):
        return False
    text = str(error)
    if _NATIVE_FORM.match(text) is None:
        return _GLOO.search(text) is not None
    return _DEVICE.search(text) is not None or (_NCCL.search(text) is not None and _OWN.search(text) is None)


def _kinds(error: BaseException) -> tuple[type, ...]:
    return type(error).__mro__


def _raised_outside_python(error: BaseException) -> bool:
    """True where the innermost line of Python called what raised it, as opposed to a `raise`."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti : trace.tb_lasti + 1]
    return bool(instruction) and dis.opname[instruction[0]] not in ("RAISE_VARARGS", "RERAISE")
