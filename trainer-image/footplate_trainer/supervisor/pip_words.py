"""What pip said when it failed, as one sentence with a way out. Pure."""

import re
from collections.abc import Sequence
from pathlib import Path

from footplate.api.packages import WHEELS
from footplate_trainer.supervisor.requirements import Line

LONGEST = 600

_SENTENCE = re.compile(
    r"^(?:ERROR|error): .*?(?=\n[ \t]*(?:Additional information|To fix this|note:|hint:)|\Z)", re.MULTILINE | re.DOTALL
)
_BUILD = re.compile(r"^ *[^\w\s]{1,8} (?P<what>[^\n]{0,600} did not run successfully)\.", re.MULTILINE)
_OUTPUT, _END = "lines of output]\n", "[end of"
"""Between which stands what a build has said, which may be anything."""
_AWAY = r"NewConnectionError|NameResolutionError|ConnectTimeout|Read timed out|Max retries|\b50[0234] "
_NOTHING = r"No matching distribution"
_CONFLICT = r"conflicting dependencies|ResolutionImpossible"
_WAYS_OUT = (
    (
        _CONFLICT,
        "leave out what contradicts trainer.image, whose torch, CUDA and numpy stay as they are, or take an image that "
        "has those versions",
    ),
    (
        r"\b40[13] (Error|Client)|error 40[13]\b",
        "its index wants credentials: put its address with them into a Secret that trainer.envFrom names, as "
        "PIP_INDEX_URL, or mount a .netrc and name it in NETRC",
    ),
    (
        _AWAY,
        "its index can't be reached from the pod: correct its address, let pods reach it, or bring the wheels along as "
        f"the input channel {WHEELS!r}",
    ),
    (r"No space left", "request more ephemeral-storage in spec.resources"),
    (r"Invalid requirement", "correct the line"),
    (_NOTHING, "correct name and version, or add the package where it is looked for"),
)


def sentence(said: str, *, file: Path, lines: Sequence[Line]) -> str:
    """The error itself, of all that pip said; places in pip's `file` are those of the lines that it was made of."""
    words = _of_build(said)
    if not words:
        found = _SENTENCE.search(said)
        words = found[0] if found else last_line(said)

    def place(found: re.Match[str]) -> str:
        number = int(found[1] or found[2])
        return lines[number - 1].place if 0 < number <= len(lines) else found[0]

    name = re.escape(str(file))
    return " ".join(re.sub(rf"(?:-r )?{name} \(line (\d{{1,6}})\)|line (\d{{1,6}}) of {name}", place, words).split())[
        :LONGEST
    ]


def _of_build(said: str) -> str:
    """What a build has said at its end; empty where none has failed."""
    built = _BUILD.search(said)
    if built is None:
        return ""
    _, begun, rest = said[built.end() :].partition(_OUTPUT)
    output, ended, _ = rest.partition(_END)
    return f"{built['what']}: {last_line(output.rpartition(chr(10))[0])}" if begun and ended else ""


def last_line(said: str) -> str:
    """The last line with words in it."""
    lines = said.strip().splitlines()
    return lines[-1].strip()[:200] if lines else ""


def found_nothing(said: str) -> bool:
    """True where no index had the package, or none could be asked."""
    return re.search(_NOTHING, said) is not None


def way_out(said: str) -> str:
    """What to do, by all that pip said."""
    found = (way for pattern, way in _WAYS_OUT if re.search(pattern, said))
    return next(found, "its whole output is in the log; correct the requirement, or have it in trainer.image")


def is_away(said: str) -> bool:
    """True where the index gave no answer, or one that it may change by itself."""
    return re.search(_AWAY, said) is not None and re.search(_CONFLICT, said) is None
