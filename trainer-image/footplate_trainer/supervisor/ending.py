"""Why a pod's processes ended, and with which exit code: the decision, from what was seen. Pure.

The cause is the rank that failed first. One that only lost a peer comes after all that failed of their own, whenever
it did; one that the watch itself has killed is no cause at all. What a process that left no word has written last is
read for it: a launcher's own error says only that it had one.
"""

import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from footplate.causes import WENT_ON_LINES, Cause, find_cause, last_words
from footplate.contract import ExitCode, Failure
from footplate_trainer import blame
from footplate_trainer.exchange import RankError
from footplate_trainer.supervisor.hang import Hang
from footplate_trainer.supervisor.processes import Exit
from footplate_trainer.supervisor.stacks import Frame, format_stack, parse_crash


@dataclass(frozen=True, slots=True)
class Ending:
    """How a pod's processes ended: the pod's exit code, and the first error if there is one."""

    exit_code: int
    error: Failure | None = None


_SIGTERM_SAID = f"got signal: {signal.SIGTERM.value}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What was seen of all processes of a pod, up to the last one's end."""

    exits: Sequence[Exit]
    errors: Mapping[int, RankError]
    """What the failing ranks said of themselves."""
    unfinished: frozenset[int] = frozenset()
    """Ranks of ours that ended with 0 but never said that they were done: anything may leave with 0."""
    ended_by_us: frozenset[int] = frozenset()
    """Ranks that still ran when the watch began to end them."""
    stop_requested: bool = False
    """While at least one of them was still at work."""
    late: bool = False
    """The grace was used up, and the rest was killed."""
    hang: Hang | None = None
    """Why all were ended, and when that was noticed, in seconds since the epoch."""
    hang_time: float = 0.0
    nodes: int = 1
    """Of the gang: only where there are others can a lost peer be theirs."""
    grace_seconds: float = 0.0
    hang_timeout: float = 0.0


def find_ending(story: Story) -> Ending:
    """Decides how the pod ends."""
    if story.hang is not None:
        return Ending(ExitCode.HANG, _describe_hang(story, story.hang))
    if failed := failures(story):
        cause = min(failed, key=lambda exit_: (_exit_code(exit_, story) == ExitCode.PEER_LOST, _time_of(exit_, story)))
        return Ending(_exit_code(cause, story), _describe_exit(cause, story))
    if story.late:
        return Ending(ExitCode.STOPPED, _describe_late(story))
    if story.stop_requested or any(exit_.returncode == ExitCode.STOPPED for exit_ in story.exits):
        return Ending(ExitCode.STOPPED)
    if story.exits and all(exit_.returncode == ExitCode.OK for exit_ in story.exits):
        return Ending(ExitCode.OK)
    return Ending(ExitCode.USER_ERROR, Failure(message="not all processes have ended well, though none says why"))


def failures(story: Story) -> list[Exit]:
    """The processes that failed, as opposed to those that were done, stopped, or were killed on purpose."""
    return [exit_ for exit_ in story.exits if _failed(exit_, story)]


def _failed(exit_: Exit, story: Story) -> bool:
    if exit_.rank in story.errors:  # whatever ended it after that
        return story.errors[exit_.rank].exit_code != ExitCode.STOPPED
    if exit_.returncode == ExitCode.OK and exit_.rank in story.unfinished:
        return not story.stop_requested
    if exit_.returncode in (ExitCode.OK, ExitCode.STOPPED):
        return False
    killed = exit_.returncode < 0
    return not (
        (killed and (exit_.rank in story.ended_by_us or story.late))
        or (story.stop_requested and _ended_by_sigterm(exit_))
    )


def _ended_by_sigterm(exit_: Exit) -> bool:
    """By the signal itself, or by what torchrun, and what is made of it, raises when it comes, to end with 1."""
    if exit_.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM):
        return True
    cause = _cause(exit_)
    return cause is not None and cause.type == "SignalException" and _SIGTERM_SAID in cause.message


def _time_of(exit_: Exit, story: Story) -> float:
    """By the clock that all processes of a pod share, and nobody sets."""
    error = story.errors.get(exit_.rank)
    return error.failed_at if error else exit_.ended_at


def _exit_code(exit_: Exit, story: Story) -> int:
    """What a rank has said before it ended; else as a shell says it: 128 + n for signal n, but who was ended by NCCL's
    watchdog has lost a peer.
    """
    if (error := story.errors.get(exit_.rank)) is not None:
        return error.exit_code
    if exit_.returncode in (ExitCode.OK, ExitCode.NODE_UNFIT):  # of a node no program of the user's speaks
        return ExitCode.USER_ERROR
    if _watchdogs_words(exit_) or (story.nodes > 1 and (cause := _cause(exit_)) is not None and cause.lost_peer):
        return ExitCode.PEER_LOST
    return exit_.returncode if exit_.returncode >= 0 else 128 - exit_.returncode


def _watchdogs_words(exit_: Exit) -> str:
    return blame.watchdogs_words(exit_.stderr_tail) if exit_.returncode == -signal.SIGABRT else ""


@lru_cache(maxsize=16)
def _cause(exit_: Exit) -> Cause | None:
    """By what a process has written, unless a signal has ended it, whose cause no exception is."""
    if exit_.returncode <= 0:
        return None
    return find_cause(exit_.stderr_tail, first_rank=exit_.rank) or find_cause(exit_.stdout_tail, first_rank=exit_.rank)


def _describe_exit(exit_: Exit, story: Story) -> Failure:
    if (error := story.errors.get(exit_.rank)) is not None:
        return _with_its_words(error.failure, exit_)
    cause, crash = _cause(exit_), parse_crash(exit_.stderr_tail) if exit_.returncode < 0 else ()
    if cause is not None and cause.type:
        said = cause.message
    else:
        last = cause.message if cause is not None else _watchdogs_words(exit_) or _last_words(exit_)
        native = _where(crash) if crash else ""
        # That Python dies of a signal is no news where the signal and the place are known.
        said = ": ".join(filter(None, (_how(exit_), "" if native and "Fatal Python error" in last else last, native)))
    if exit_.returncode == ExitCode.OK:  # what it wrote last has nothing to do with it
        said = _how(exit_)
    shown = format_stack(crash) if crash else cause.traceback if cause is not None else None
    return Failure(
        rank=exit_.rank if cause is None or cause.rank is None else cause.rank,
        type=cause.type[:256] if cause is not None else "",
        message=said[:1024],
        traceback=(shown or _end_of(exit_.stderr_tail))[-3072:] or None,
        time=exit_.time,
    )


def _end_of(log: str) -> str:
    """What was written last, without an exception that it shows was caught."""
    return "".join(log.splitlines(keepends=True)[-WENT_ON_LINES:])


def _with_its_words(failure: Failure, exit_: Exit) -> Failure:
    """An argument parser says on stderr what is wrong, and raises no more than a number."""
    if failure.type != "SystemExit" or not failure.message.isdecimal():
        return failure
    cause = find_cause(exit_.stderr_tail)
    if cause is None or cause.type:
        return failure
    return failure.model_copy(update={"type": "", "message": f"{_how(exit_)}: {cause.message}"[:1024]})


def _where(crash: Sequence[Frame]) -> str:
    """In native code that this line of Python has called."""
    return f'in native code, called from File "{crash[-1].file}", line {crash[-1].line}, in {crash[-1].name}'


def _last_words(exit_: Exit) -> str:
    if exit_.returncode < 0 and (words := last_words(exit_.stderr_tail)):
        return words
    lines = (line for line in reversed(exit_.stderr_tail.splitlines()) if line.strip())
    return next((line for line in lines if not line.startswith("Extension modules: ")), "")


def _how(exit_: Exit) -> str:
    name = _signal_name(exit_)
    if name == "SIGKILL":
        return "killed by SIGKILL, most likely out of memory: raise resources.limits.memory, or use less"
    if exit_.returncode == ExitCode.OK:
        return (
            "ended with exit code 0 before its program had: by os._exit, exec or native code, and nobody knows what is "
            "complete. Return from the program or call sys.exit(0), and start another program by trainer.command"
        )
    if exit_.returncode == 128 + signal.SIGKILL:
        return (
            "ended with exit code 137: a process in it was killed by SIGKILL, most likely out of memory; raise "
            "resources.limits.memory, or use less"
        )
    return f"killed by {name}" if name else f"ended with exit code {exit_.returncode}"


def _signal_name(exit_: Exit) -> str:
    if exit_.returncode >= 0:
        return ""
    try:
        return signal.Signals(-exit_.returncode).name
    except ValueError:
        return f"signal {-exit_.returncode}"


def _describe_hang(story: Story, hang: Hang) -> Failure:
    """The time is that of the culprit's last sign of life, so that of all pods' hangs its own is the earliest; one that
    only waits for others is no earlier than the moment at which that was noticed.
    """
    culprit, finding = hang.culprit, hang.finding
    tail = next((exit_.stderr_tail for exit_ in story.exits if exit_.rank == culprit.rank), "")
    return Failure(
        rank=culprit.rank,
        message=f"rank {culprit.rank} made no progress for {culprit.seconds:.0f} s while {culprit.activity}, "
        f"after step {culprit.step}: {finding.in_words}. If it was only slow, raise runPolicy.hangTimeoutSeconds "
        f"({story.hang_timeout:.0f})",
        traceback=(finding.traceback or tail)[-3072:] or None,
        time=story.hang_time - (0.0 if finding.waits_for_others else culprit.seconds),
    )


def _describe_late(story: Story) -> Failure:
    return Failure(
        message=f"asked to stop, but still at work near the end of the {story.grace_seconds:.0f} s of grace, and "
        "killed: what came after the last checkpoint is lost; raise runPolicy.terminationGracePeriodSeconds",
    )
