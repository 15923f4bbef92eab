"""What a pod, a log or a status says is a stranger's text: made fit to be shown, before anybody shows it.

A terminal obeys what is written to it: sequences that move the cursor, rename the window or answer in the user's name
go as a whole, and so does all else that isn't shown. A page escapes by itself what is left.
"""

import re

from footplate.text import clean, clean_lines

MAX_LINE = 16_384
"""Characters of a line of a log that are shown."""

_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"
    r"|\x1b[ -/]*[0-~]?"
)
"""CSI (colours, the cursor); OSC and its like (titles, the clipboard); all other escapes."""
_OMITTED = "… [{:,} more characters]"


def plain(text: str, *, most: int = 1024) -> str:
    """A text in one line, without what a terminal would obey.

    Args:
        text: anything.
        most: bytes of the result.
    """
    return clean(_SEQUENCES.sub("", text[: 8 * most]), most=most)


def plain_lines(text: str, *, most: int = 65_536) -> str:
    """A text that keeps its lines, such as a traceback; of one that is too long the end."""
    return clean_lines(_SEQUENCES.sub("", text[-8 * most :]), most=most, tail=True)


def plain_line(raw: bytes, *, left_out: int = 0) -> str:
    """A line of a log as a terminal leaves it: of a progress bar, which is written over and over, the last state.

    Args:
        raw: the line, without its end; its bytes needn't be text.
        left_out: bytes of it that were not kept.
    """
    text = raw.decode(errors="replace").rstrip("\r\n").rpartition("\r")[2]
    shown = clean_lines(_SEQUENCES.sub("", text[:MAX_LINE]), most=4 * MAX_LINE).rstrip()
    omitted = left_out + max(0, len(text) - MAX_LINE)
    return shown + _OMITTED.format(omitted) if omitted else shown
