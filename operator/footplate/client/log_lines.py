"""From a log's bytes to lines that may be shown. Pure: what a pod writes is a stranger's, and may be anything."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from footplate.client.untrusted import MAX_LINE, plain, plain_line

_KEPT_BYTES = 4 * MAX_LINE
_IN_ALL = ("timestamp", "job", "run", "attempt", "node_rank")
"""What each line of the supervisor's has."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a pod's log, fit to be shown."""

    node_rank: int
    attempt: int
    text: str


@dataclass
class LineSplitter:
    """Cuts pieces of a stream into lines. Of a line of any length a bounded part is held."""

    _begun: bytearray = field(default_factory=bytearray)
    _left_out: int = 0

    def feed(self, piece: bytes) -> Iterator[str]:
        """The lines that end in this piece."""
        *ended, rest = piece.split(b"\n")
        for part in ended:
            self._add(part)
            yield self._take()
        self._add(rest)

    def end(self) -> Iterator[str]:
        """What is left without an end, if there is anything."""
        if self._begun:
            yield self._take()

    def _add(self, part: bytes) -> None:
        if self._left_out == 0 and (bar := part.rstrip(b"\r").rfind(b"\r")) >= 0:  # all before it is written over
            self._begun.clear()
            part = part[bar + 1 :]
        room = _KEPT_BYTES - len(self._begun)
        self._begun += part[:room]
        self._left_out += max(0, len(part) - room)

    def _take(self) -> str:
        text = plain_line(bytes(self._begun), left_out=self._left_out)
        self._begun.clear()
        self._left_out = 0
        return read_aloud(text)


def read_aloud(text: str) -> str:
    """A line of the supervisor's, which is JSON, without what all of them have; any other as it is."""
    if not (text.startswith("{") and text.endswith("}")):
        return text
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not said.keys() >= {"event", "level", *_IN_ALL}:
        return text
    event, level = said.pop("event"), said.pop("level")
    words = [str(event) if level == "info" else f"{level}: {event}"]
    words += [f"{name}={value}" for name, value in said.items() if name not in _IN_ALL]
    return plain("  ".join(words), most=_KEPT_BYTES)
