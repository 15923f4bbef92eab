"""Whether a rank's failure is a lost peer's or a broken device's, and so not its user's. Pure, and without torch.

Words alone prove nothing: a user's own error may say "gloo", "Broken pipe" or "timed out". What counts is an error of
torch.distributed's own class, or one that native code has raised, not a `raise` in Python, and that has the form which
gloo, NCCL and CUDA give to theirs; or a SIGABRT that NCCL's watchdog has announced in the log.
"""

import dis
import re
from typing import Final

from footplate.causes.peers import DEVICE, NCCL, OWN, dist_blames_others, native_code_blames_others
from footplate_trainer.errors import PeerLost, chain_of

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
    if any(OWN.search(words) and not DEVICE.search(words) for words in said):
        return ""
    found = next((words for words in said if NCCL.search(words) or DEVICE.search(words)), "")
    return " ".join(found.split())


def _is_torchs(error: BaseException) -> bool:
    distributed = any((kind.__module__, kind.__name__) == ("torch.distributed", "DistError") for kind in _kinds(error))
    if not distributed or type(error).__name__ == "DistQueueEmptyError":
        return False
    return dist_blames_others(str(error))


def _is_native(error: BaseException) -> bool:
    native = type(error) is RuntimeError or any(kind.__module__ == "torch" for kind in _kinds(error))
    return native and _raised_outside_python(error) and native_code_blames_others(str(error))


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
