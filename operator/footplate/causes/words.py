"""What programs say at their end that raise no exception: usage errors, shells, native code."""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from footplate.causes.streams import Line

_AFTER_USAGE = 40
_MOST_LINES = 6
_HYDRA = re.compile(
    r"^(Error parsing override |Could not |In '|Primary config |Cannot find primary |Error merging |LexerNoViable|"
    r"mismatched input |no viable alternative|token recognition error|missing EQUAL|extraneous input|Ambiguous value|"
    r"You must specify '|Missing mandatory value|Key '|Multiple values for )"
)
_BOX = " │|╭╮╰╯─+-"


@dataclass(frozen=True, slots=True)
class Words:
    """The meaningful words of an ending; `last` is the number of their last line in the log."""

    text: str
    last: int


Reader = Callable[[Sequence[Line], int], str]
"""The words that end a program, from the lines and the one that shows it; empty where that isn't so after all."""


def find_words(lines: Sequence[Line]) -> Words | None:
    """The last words that say why; what only says that it ended so where nothing says more."""
    for table in (_SPECIFIC, _GENERAL):
        for index in reversed(range(len(lines))):
            text = lines[index].text
            for pattern, read in table:
                if pattern.search(text) and (said := read(lines, index)):
                    return Words(" ".join(said.split()), lines[index].number)
    return None


def _line(lines: Sequence[Line], index: int) -> str:
    return lines[index].text


def _with_next(lines: Sequence[Line], index: int) -> str:
    return " ".join(line.text.strip() for line in lines[index : index + 2])


def _paragraph(lines: Sequence[Line], index: int) -> str:
    """The line, and what follows it without a gap."""
    said: list[str] = []
    for line in lines[index : index + _MOST_LINES]:
        if not line.text.strip(_BOX):
            break
        said.append(line.text.strip(_BOX))
    return " ".join(said)


def _next_paragraph(lines: Sequence[Line], index: int) -> str:
    return _paragraph(lines, index + 1)


def _after_usage(lines: Sequence[Line], index: int) -> str:
    before = lines[max(0, index - _AFTER_USAGE) : index]
    return lines[index].text if any(line.text.lstrip().lower().startswith("usage:") for line in before) else ""


def _of_hydra(lines: Sequence[Line], index: int) -> str:
    """What stands above its hint on a longer trace."""
    above = [line.text for line in lines[max(0, index - _AFTER_USAGE) : index] if line.text.strip()]
    start = next((n for n, text in enumerate(above) if _HYDRA.match(text)), len(above))
    said = itertools.takewhile(lambda text: not text.startswith("Config search path"), above[start : start + 4])
    return " ".join(said)


def _of_java(lines: Sequence[Line], index: int) -> str:
    """What it comes from in the end."""
    causes = [line.text.strip() for line in lines[index:] if line.text.startswith("Caused by: ")]
    return causes[-1] if causes else lines[index].text


def _of_crash(lines: Sequence[Line], index: int) -> str:
    """Where Python was, as faulthandler says it."""
    dump = [line.text for line in lines[index:]]
    current = next((n for n, text in enumerate(dump) if text.startswith("Current thread ")), None)
    frame = dump[current + 1].strip() if current is not None and current + 1 < len(dump) else ""
    return lines[index].text + (f", in native code, called from {frame}" if frame.startswith("File ") else "")


_SPECIFIC: Sequence[tuple[re.Pattern[str], Reader]] = [
    (re.compile(r"^\S.{0,200}: error: "), _after_usage),  # argparse
    (re.compile(r"^Error: "), _after_usage),  # click
    (re.compile(r"^[╭+][─-]+ Error [─-]"), _next_paragraph),  # typer, tyro
    (re.compile(r"^FATAL Flags parsing error:"), _paragraph),  # absl
    (re.compile(r"^ERROR: Could not consume arg"), _line),  # fire
    (re.compile(r"HYDRA_FULL_ERROR=1"), _of_hydra),
    (re.compile(r"can't open file '.*': \[Errno|: No module named \S+$|: can't find '__main__' module in"), _line),
    (re.compile(r"^\S+: (line )?\d+: .*(not found|Permission denied|No such file or directory)$"), _line),
    (re.compile(r"[Ee]xec format error|cannot execute|bad interpreter|^(\S*/)?env: .*No such file"), _line),
    (re.compile(r"^\S+: (line )?\d+: (syntax error|unexpected EOF)|^\S+: \d+: Syntax error:"), _line),
    (re.compile(r"error while loading shared libraries: |symbol lookup error: |: version `\S+' not found"), _line),
    (
        re.compile(
            r"^(free|malloc|realloc|munmap_chunk|mremap_chunk|corrupted|double free|malloc_consolidate|tcache)\b.*"
            r"(\(|corrupt|invalid|detected|size|unaligned)|^\*\*\* .* \*\*\*: terminated"
        ),
        _line,
    ),
    (re.compile(r"^\s*terminate called "), _with_next),
    (re.compile(r"Assertion [`'].+' failed\.?$"), _line),
    (re.compile(r"^thread '.*' (\(\d+\) )?panicked at .*:$"), _with_next),
    (re.compile(r"^thread '.*' (\(\d+\) )?panicked at '|^panic: |^fatal error: "), _line),
    (re.compile(r"^Exception in thread \".*\" \S"), _of_java),
    (re.compile(r"==\d+==\s?ERROR: "), _line),
    (re.compile(r"DefaultCPUAllocator: can't allocate memory|CUDA out of memory|[Oo]ut [Oo]f [Mm]emory"), _line),
]
_GENERAL: Sequence[tuple[re.Pattern[str], Reader]] = [
    (re.compile(r"^Fatal Python error: "), _of_crash),
    (re.compile(r"noticed that process rank \d+ .* exited on signal \d+|exits with return code = -\d+"), _line),
    (re.compile(r"oom-kill event|^\S+: line \d+:\s+\d+ (Killed|Segmentation fault|Aborted|Bus error)\b"), _line),
    (re.compile(r"^(Killed|Segmentation fault|Aborted|Bus error|Illegal instruction)( \(core dumped\))?$"), _line),
]
