"""torchrun's summary of a failure: which rank failed first, and by which signal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from footplate.causes.streams import Line

_RANK = re.compile(r"^\s*rank\s+: (\d{1,7}) \(local_rank: \d+\)")
_CODE = re.compile(r"^\s*exitcode\s+: (-?\d{1,3}) \(pid: \d+\)")
_TITLE = "(first observed failure)"


@dataclass(frozen=True, slots=True)
class Failed:
    """One process of the summary: minus the signal that has ended it, or its exit code."""

    rank: int
    exit_code: int


def read_summary(lines: Sequence[Line]) -> Failed | None:
    """The process that it names as the root cause; None where there is no such summary."""
    title = next((n for n in reversed(range(len(lines))) if _TITLE in lines[n].text), None)
    if title is None:
        return None
    shown = [line.text for line in lines[title : title + 8]]
    rank = next((found[1] for text in shown if (found := _RANK.match(text))), None)
    code = next((found[1] for text in shown if (found := _CODE.match(text))), None)
    return Failed(int(rank), int(code)) if rank and code else None
