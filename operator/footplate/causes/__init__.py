"""Why a program that isn't ours has failed, from the end of its log: the last exception that isn't a launcher's, else
what programs, shells and native code say at their end. Pure; for the operator and for the trainer's supervisor.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from footplate.causes import peers
from footplate.causes.streams import Stream, split
from footplate.causes.summary import Failed, read_summary
from footplate.causes.tracebacks import Raised, find_raised, is_library
from footplate.causes.ways_out import way_out
from footplate.causes.words import Words, find_words

__all__ = ["WENT_ON_LINES", "Cause", "find_cause", "is_library", "last_words", "way_out"]

_GROUPS = ("ExceptionGroup", "BaseExceptionGroup")
_ASSERTED = re.compile(r"Assertion (`[^`']{1,200}['`]) failed")
WENT_ON_LINES = 50
"""A process that has written so much after an exception has caught it, and ended by something else."""
_PARTING = re.compile(r"^(wandb|swanlab|mlflow|comet|COMET \w+|clearml)\b|^[#=*-]*$|^\s")
"""What trackers write at an end, which may be much, lines without words, and those that go on with one above."""
_OF_ITSELF = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
"""By which a process dies of what it does; SIGTERM comes from its launcher."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a program failed."""

    message: str
    """In one line: its own words, where, and what to change."""
    type: str = ""
    """An exception's class; empty where it is none."""
    rank: int | None = None
    """Where the log names it."""
    traceback: str | None = None
    """What of the log shows it."""
    lost_peer: bool = False
    """It only says that another process is gone, or that the device is broken."""


def find_cause(log: str, *, first_rank: int = 0) -> Cause | None:
    """The cause of a failure; None where nothing in the log looks like one.

    Args:
        log: the end of what a program and all that it has started have written.
        first_rank: rank of the first process on this node.
    """
    streams = split(log, first_rank=first_rank)
    lines = sorted((line for stream in streams for line in stream.lines), key=lambda line: line.number)
    failed, words = read_summary(lines), find_words(lines)
    ended = [(stream, found) for stream in streams if (found := _last_of(stream)) is not None]
    raised = _choose([found for stream, found in ended if not _went_on([stream], found.last)], failed)
    if words is not None and _went_on(streams, words.last):
        words = None
    own = raised is not None and not raised.is_launchers
    if raised is not None and own and not _is_lost_peer(raised) and not _is_later(words, raised, streams):
        return _of_raised(raised, failed, log)
    if words is not None and (raised is None or not own or _is_later(words, raised, streams)):
        return _of_words(words, failed)
    if failed is not None and (not own or -failed.exit_code in _OF_ITSELF):
        return _of_summary(failed)
    return _of_raised(raised, failed, log) if raised is not None else None


def last_words(log: str) -> str:
    """What a program, a shell or native code has said at its end, whatever was raised before, and what to change; empty
    where nothing in the log looks like that.
    """
    words = find_words([line for stream in split(log) for line in stream.lines])
    return _with_way_out(words.text, of=words.text) if words is not None else ""


def _last_of(stream: Stream) -> Raised | None:
    """The one that ended a process; of a group the first that is in it, since the others come of the same moment."""
    found = find_raised(stream)
    own = [raised for raised in found if not raised.is_launchers]
    if not own:
        return found[-1] if found else None
    group = max((index for index, raised in enumerate(found) if raised.name in _GROUPS), default=-1)
    if inside := [raised for raised in found[group + 1 :] if not raised.is_launchers]:
        return inside[0] if group >= 0 else _without_peers(inside)
    return _without_peers(own)


def _went_on(streams: Sequence[Stream], number: int) -> bool:
    """True where somebody was long at work after this line. Exceptions below it are no work."""
    spans = [(other.first, other.last) for stream in streams for other in find_raised(stream)]
    lines = (line for stream in streams for line in stream.lines if line.number > number)
    after = [line.number for line in lines if not _PARTING.match(line.text)]
    return sum(not any(first <= each <= last for first, last in spans) for each in after) >= WENT_ON_LINES


def _without_peers(own: Sequence[Raised]) -> Raised:
    """The last one that isn't only about another process: without a prefix, several have written to one stream."""
    return next((raised for raised in reversed(own) if not _is_lost_peer(raised)), own[-1])


def _choose(candidates: Sequence[Raised], failed: Failed | None) -> Raised | None:
    """Of what ended each process the cause: a rank's own error, of the rank that its launcher names, the earliest."""

    def order(raised: Raised) -> tuple[bool, bool, bool, bool, int]:
        named = failed is not None and raised.rank == failed.rank
        return raised.is_launchers, _is_lost_peer(raised), raised.rank is None, not named, raised.first

    return min(candidates, key=order, default=None)


def _is_lost_peer(raised: Raised) -> bool:
    return peers.lost_peer(raised.type, raised.message, raised.source)


def _is_later(words: Words | None, raised: Raised, streams: Sequence[Stream]) -> bool:
    """True where a program went on after an exception, and ended by something else; what comes right below an exception
    is the interpreter's own end.
    """
    if words is None or words.last <= raised.last:
        return False
    between = (line for stream in streams for line in stream.lines if raised.last < line.number < words.last)
    return any(line.text.strip() for line in between)


def _of_raised(raised: Raised, failed: Failed | None, log: str) -> Cause:
    message = raised.message or raised.source
    if "device-side assert" in message and (asserted := _ASSERTED.search(log)) is not None:
        message += f"; {asserted[1]} isn't so"
    came = raised.cause
    passed_on = came is not None and (came.name, came.message) == (raised.name, raised.message)
    place = came if came is not None and passed_on else raised  # another process's, where it was raised first
    if place.file:
        message += f" ({place.file.rpartition('/')[2]}, line {place.line})"
    if came is not None and not passed_on and not came.is_launchers:
        message += f"; it comes from {came.name}: {came.message}"
    rank = raised.rank if raised.rank is not None else (failed.rank if failed else None)
    return Cause(
        message=_with_way_out(message.strip(), of=f"{raised.type}: {message}"),
        type=raised.name,
        rank=rank,
        traceback=raised.text,
        lost_peer=_is_lost_peer(raised),
    )


def _of_words(words: Words, failed: Failed | None) -> Cause:
    message = _with_way_out(words.text, of=words.text)
    return Cause(message=message, rank=failed.rank if failed else None, traceback=words.text)


def _of_summary(failed: Failed) -> Cause:
    """Of a process whose own words aren't known, by what its launcher says."""
    if failed.exit_code >= 0:
        said = f"rank {failed.rank} ended with exit code {failed.exit_code}; what it said is above that in the log"
        return Cause(said, rank=failed.rank)
    signals = {number.value: number.name for number in signal.Signals}
    name = signals.get(-failed.exit_code, str(-failed.exit_code))
    said = f"rank {failed.rank} was killed by {name}" + (", most likely out of memory" if name == "SIGKILL" else "")
    return Cause(_with_way_out(said, of=f"signal {name}"), rank=failed.rank, traceback=said)


def _with_way_out(message: str, *, of: str) -> str:
    advice = way_out(of)
    return f"{message.rstrip('.')}; {advice}" if advice else message
