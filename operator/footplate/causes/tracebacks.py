"""Exceptions in what a process has written: as Python, IPython and rich show them, chains and groups included.

A log is a tenant's, and may be anything: each line is looked at a bounded number of times, by patterns that don't
backtrack.
"""

import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from footplate.causes.streams import Line, Stream

_START = "Traceback (most recent call last)"
_FRAMES = (
    re.compile(r'^ *File "(?P<file>[^"]{1,512})", line (?P<line>\d{1,9})(?P<rest>.*)$'),
    re.compile(r"^File (?P<file>[^:\s]{1,512}):(?P<line>\d{1,9})(?P<rest>.*)$"),  # IPython
    re.compile(r"^ ?(?P<file>[^\s:]{1,512}\.py):(?P<line>\d{1,9})(?P<rest> in .*)$"),  # rich
)
_ERROR = re.compile(
    r"^(?P<type>(?:[A-Za-z_][\w<>]{0,127}\.){0,8}[A-Za-z_]\w{0,127})(?:\(\w{1,64}\))?(?::(?P<message> ?.*))?$"
)
_BODY = re.compile(r"^(?:\s|[╭╰│❱+]|-{4,}|\.\.\.|Cell |File |\"\"\"|\d+ )|^$")
_CAUSED = "The above exception was the direct cause of the following exception:"
_MEANWHILE = "During handling of the above exception, another exception occurred:"
_NO_MESSAGE = re.compile(r"^\s*(\+-|\[bt\]|Stack trace:|C\+\+ CapturedTraceback)|.*Traceback \(most recent call last\)")
_MOST_LINES = 8
"""Of one message."""
_LIBRARY = re.compile(r"^<.*>$|/(site|dist)-packages/|/lib/python\d|/footplate_trainer/")
_LAUNCHERS = frozenset(
    {
        "ChildFailedError", "SignalException", "CalledProcessError", "ProcessRaisedException",
        "ProcessExitedException", "RemoteTraceback", "_RemoteTraceback", "RayTaskError", "SystemExit",
        "KeyboardInterrupt", "ExceptionGroup", "BaseExceptionGroup",
    }
)  # fmt: skip
"""What only says that something else has failed."""


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception in a log."""

    type: str
    message: str
    rank: int | None
    file: str
    """Of the innermost line of the user's own code, else of any; empty where none is shown."""
    line: int
    source: str
    """The innermost line of Python itself."""
    first: int
    last: int
    """The lines of the log that show it, and what it came from."""
    text: str
    cause: "Raised | None"
    """What it was raised from."""

    @property
    def name(self) -> str:
        """Its class's own name."""
        return self.type.rpartition(".")[2]

    @property
    def is_launchers(self) -> bool:
        """True where it only says that something else has failed."""
        return self.name in _LAUNCHERS


def is_library(file: str) -> bool:
    """True of a file that belongs to Python, to what is installed, or to us, and not to the user's program."""
    return _LIBRARY.search(file) is not None


def find_raised(stream: Stream) -> list[Raised]:
    """All exceptions in it, in the order in which they were written."""
    found: list[Raised] = []
    for start, frames, end in _blocks(stream.lines):
        before = _before(stream.lines, start)
        linked = found[-1] if found and before in (_CAUSED, _MEANWHILE) else None
        found.append(_read(stream, start, frames, end, linked, caused=before == _CAUSED))
    return found


def _read(
    stream: Stream, start: int, frames: Sequence[int], end: int, linked: Raised | None, *, caused: bool
) -> Raised:
    lines = stream.lines
    error = _ERROR.match(lines[end].text)
    assert error is not None  # noqa: S101 (a block ends with one)
    more = _more(lines, end, said=(error["message"] or "").strip())
    message = " ".join(filter(None, ((error["message"] or "").strip(), *(line.text.strip() for line in more))))
    file, number = _place(lines, frames)
    text = "\n".join(line.text for line in lines[start : end + 1 + len(more)])
    return Raised(
        type=error["type"],
        message=message,
        rank=stream.rank,
        file=file,
        line=number,
        source=lines[frames[-1] + 1].text.strip() if frames and frames[-1] + 1 < end else "",
        first=linked.first if linked else lines[start].number,
        last=(more[-1] if more else lines[end]).number,
        text=f"{linked.text}\n\n{_CAUSED if caused else _MEANWHILE}\n\n{text}" if linked else text,
        cause=linked if caused else None,
    )


def _blocks(lines: Sequence[Line]) -> Iterator[tuple[int, list[int], int]]:
    """Where each one starts, its frames are, and its error stands."""
    start, frames = -1, list[int]()
    for index, line in enumerate(lines):
        text = line.text
        if _START in text:
            start, frames = index, []
        elif any(pattern.match(text) for pattern in _FRAMES):
            if start < 0 and text.startswith("  File") and text.rstrip()[-1:].isdigit():  # a SyntaxError
                start = index
            if start >= 0:
                frames.append(index)
        elif start >= 0 and _ends(text):
            yield start, frames, index
            start, frames = -1, []


def _ends(text: str) -> bool:
    if _BODY.match(text) or (found := _ERROR.match(text)) is None:
        return False
    name = found["type"].rpartition(".")[2]
    return "." in found["type"] or (name[0] in "_" + string.ascii_uppercase and any(char.islower() for char in name))


def _more(lines: Sequence[Line], end: int, *, said: str) -> list[Line]:
    """The lines on which a message goes on: those that are indented, and one that has such below it."""
    more: list[Line] = []
    for index in range(end + 1, min(end + 1 + _MOST_LINES, len(lines))):
        text = lines[index].text
        below = lines[index + 1].text if index + 1 < len(lines) else ""
        goes_on = text[:1] in (" ", "\t") or below[:1] in (" ", "\t") or (not more and (not said or said[-1] == ":"))
        if not goes_on or _closes(text):
            break
        more.append(lines[index])
    return more


def _closes(text: str) -> bool:
    """True for a line that no message goes on with."""
    return not text.strip() or _NO_MESSAGE.match(text) is not None or any(p.match(text) for p in _FRAMES)


def _place(lines: Sequence[Line], frames: Sequence[int]) -> tuple[str, int]:
    places = [(m["file"], int(m["line"])) for index in frames for p in _FRAMES if (m := p.match(lines[index].text))]
    own = [place for place in places if not is_library(place[0])]
    return (own or places or [("", 0)])[-1]


def _before(lines: Sequence[Line], start: int) -> str:
    """The last line above it that isn't empty."""
    return next((line.text.strip() for line in reversed(lines[max(0, start - 3) : start]) if line.text.strip()), "")
