"""What a process does that makes no progress: its Python stacks, as faulthandler writes them, and what the kernel says
of it.
"""

import linecache
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+|\?\?\?) in (?P<name>.*)$')
_CRASHED = re.compile(r"\s*Current thread \S+.*\(most recent call first\)")
_COLLECTIVE = re.compile(r"/torch/(distributed/.*|nn/parallel/distributed\.py)$")
_DEVICE = re.compile(
    r"/torch/(cuda|nn|optim|amp|autograd|_inductor/(runtime|utils|cudagraph_trees|output_code|compile_fx))[/.]|"
    r"/torch/(_ops|_tensor|functional|_dynamo/eval_frame)\.py$|/torchinductor_|/triton/(backends|runtime)/"
)
"""Where kernels are launched: a launch waits once a thousand of them do."""
_READS_DEVICE = re.compile(r"\.(item|tolist|cpu|nonzero|synchronize)\(")
"""What a line of Python that reads a tensor looks like: it waits until the device has come that far."""
_MAY_READ_DEVICE = re.compile(r"\.(to|copy_|numpy)\(|\b(float|int|bool|print|repr|str)\(|\b(if|elif|assert) ")
_WAITS_ELSEWHERE = re.compile(r"\b(open|sleep|read\w*|recv\w*|get|next|join|acquire|input|load\w*|urlopen|run)\(")
"""What waits for something else than a device, such as a file or a server."""
_OURS = re.compile(r"^<frozen .*>$|/footplate_trainer/(rank/program|supervisor/forkserver)\.py$")
_BACKWARD = "_engine_run_backward"
"""Where the backward pass leaves Python: a rank that stays there waits for the others' gradients."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A line of Python that a thread is at, or has called from."""

    file: str
    line: str
    name: str

    def __str__(self) -> str:
        return f'  File "{self.file}", line {self.line}, in {self.name}'


@dataclass(frozen=True, slots=True)
class Finding:
    """What a process was found at."""

    frames: tuple[Frame, ...] = ()
    """Of its main thread, the innermost last; none where it could not be asked."""
    state: str = ""
    """The kernel's letter for it, as in ps(1)."""
    in_flight: bool | None = None
    """Whether it waits in a collective on its device, by torch's Flight Recorder; None where that isn't known."""
    on_device: bool = False
    """It computes on an accelerator, where collectives wait: the process itself waits for those only where it reads a
    value, or has launched more than the device takes.
    """

    @property
    def waits_for_others(self) -> bool:
        """True in a collective, which ends only when all ranks are there."""
        if self.frames and _waits_in_collective(self.frames[-1]):
            return True
        if self.in_flight is not None:
            return self.in_flight
        return self.on_device and bool(self.frames) and _waits_for_device(self.frames[-1])

    @property
    def in_words(self) -> str:
        """What to tell the user."""
        if self.state in ("T", "t"):
            return "its process is stopped (SIGSTOP, or a debugger)"
        if not self.frames and self.state == "D":
            return "its process can't be interrupted: a disk, a mount or a device doesn't answer the kernel"
        if not self.frames:
            return "its stack could not be had"
        if self.waits_for_others:
            where = "in a collective, or for its device" if self.on_device else "in a collective"
            return f"like all ranks of this pod it waits for others {where}; the stacks are in the log"
        return "the stacks of all ranks of this pod are in the log"

    @property
    def traceback(self) -> str | None:
        """The main thread's stack as Python shows one, most recent call last, without what leads to the user's code."""
        return format_stack(self.frames) if self.frames else None


def _waits_in_collective(frame: Frame) -> bool:
    return _COLLECTIVE.search(frame.file) is not None or frame.name == _BACKWARD


def _waits_for_device(frame: Frame) -> bool:
    if _DEVICE.search(frame.file):
        return True
    line = linecache.getline(frame.file, int(frame.line)) if frame.line.isdecimal() else ""
    may_read = _MAY_READ_DEVICE.search(line) is not None and _WAITS_ELSEWHERE.search(line) is None
    return may_read or _READS_DEVICE.search(line) is not None


def format_stack(frames: Sequence[Frame]) -> str:
    """A stack as Python shows one, the innermost frame last, without what leads to the user's code."""
    first = next((number for number, frame in enumerate(frames) if not _OURS.search(frame.file)), 0)
    return "\n".join(["Stack (most recent call last):", *map(str, frames[first:])])


def state_of(pid: int) -> str:
    """The kernel's letter for a process's state, such as R, S, D (uninterruptible) or T (stopped); "" if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def parse_main_thread(text: str) -> tuple[Frame, ...]:
    """The main thread's frames in what faulthandler writes, the innermost last.

    The kernel gives a process's signals to its main thread, so that is the one called current; the threads come newest
    first, so it is the last one too.
    """
    threads = [block for block in re.split(r"\n\s*\n", text) if "most recent call first" in block]
    if not threads:
        return ()
    return _frames(next((block for block in threads if block.lstrip().startswith("Current thread")), threads[-1]))


def parse_crash(text: str) -> tuple[Frame, ...]:
    """The frames of the thread in which a process was killed, the innermost last, by faulthandler's words on stderr;
    none where it wrote none.
    """
    _, found, dump = text.rpartition("Fatal Python error: ")
    blocks = re.split(r"\n\s*\n", dump) if found else []
    return _frames(next((block for block in blocks if _CRASHED.match(block)), ""))


def _frames(block: str) -> tuple[Frame, ...]:
    found = [_FRAME.match(line) for line in block.splitlines()]
    return tuple(Frame(match["file"], match["line"], match["name"]) for match in reversed(found) if match)
