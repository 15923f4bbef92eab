"""An example that is interrupted as jobs are: suspended, then killed on all its nodes, and run to its end at last."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from example_gangs import PATIENCE_SECONDS, Example
from trainer_pods import Done

_STEP = re.compile(r"(?:step[_=]|checkpoint-)(\d+)")


@dataclass(frozen=True)
class Lives:
    """What became of three attempts."""

    began: list[int]
    """Where each began: by its log."""
    kept: list[int]
    """What was safe at the end of the first two."""
    suspended: list[Done]
    finished: list[Done]


def newest_step(snapshot: Mapping[str, Path]) -> int:
    """The largest number of steps in the names of a snapshot's files."""
    return max((int(match[1]) for path in snapshot if (match := _STEP.search(path))), default=0)


def live_thrice(
    make: Callable[[Sequence[str]], Example],
    *,
    endless: Sequence[str],
    ending: Callable[[int], Sequence[str]],
    begins: str,
    kept: Callable[[Mapping[str, Path]], int] = newest_step,
) -> Lives:
    """Suspends the first attempt and kills the second, each once something new is safe.

    Args:
        make: the example, with these arguments of its script.
        endless: arguments with which it never ends, and saves every ten seconds or so.
        ending: arguments with which it ends soon after it has gone on from there.
        begins: expression for what the script prints of where it begins; its group is the number, or 0.
        kept: the same number, from the contents of a snapshot's files by path.
    """
    example = make(endless)
    known = [0]

    def something_new() -> bool | None:
        return kept(example.snapshot) > known[-1] or None

    with example.attempt(0) as pods:
        pods[0].wait_for(something_new, seconds=PATIENCE_SECONDS)
        for pod in pods:
            pod.process.terminate()
        suspended = [pod.finish(seconds=PATIENCE_SECONDS) for pod in pods]
    known.append(kept(example.snapshot))
    with example.attempt(1) as pods:
        pods[0].wait_for(something_new, seconds=PATIENCE_SECONDS)
        for pod in pods:
            pod.kill()
        killed = pods[0].log_path.read_text()
    known.append(kept(example.snapshot))
    with make(ending(known[-1])).attempt(2) as pods:
        finished = [pod.finish(seconds=PATIENCE_SECONDS) for pod in pods]
    logs = [suspended[0].log, killed, finished[0].log]
    return Lives([_number(begins, log) for log in logs], known[1:], suspended, finished)


def _number(expression: str, log: str) -> int:
    match = re.search(expression, log)
    assert match, f"nothing says where it begins in:\n{log}"
    return int(match[1] or 0)
