"""Which packages a job wants installed: `trainer.requirements`, or requirements.txt of the source, as lines.

Files that a line names (`-r`, `-c`) are read here, so that what is held against the runtime's policy is what pip gets.
"""

import codecs
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from footplate.api.packages import PipPolicy
from footplate_trainer.errors import ConfigError, sendable

FIELD = "spec.trainer.requirements"
FILE = "requirements.txt"
MAX_FILE_BYTES = 1 << 20
MAX_FILES = 100

_NAMED_FILE = re.compile(
    r"(?:-([rc])\s*|--(r)equirem(?:e|en|ent)?[\s=]+|--(c)ons(?:t|tr|tra|trai|train|traint)?[\s=]+)([^\s=].*)"
)
_HIDDEN_FILE = re.compile(r"-.*\s(?:-[rc]|--requirem\w*|--cons\w*)(?=[\s=./\w]|$)")
"""One that pip finds behind another option of the same line, and would look for elsewhere."""
_COMMENT = re.compile(r"(?:^|\s)#.*$")
"""Of the blanks before it one alone: a line of a million of them would take hours."""
_VARIABLE = re.compile(r"\$\{([A-Z0-9_]+)\}")
"""What pip puts in of the environment."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",  # what PowerShell's > writes
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line, without comment and line breaks; `place` names it to the user."""

    place: str
    text: str
    constrains: bool = False
    """True where it says which version of a package will do, and doesn't ask for the package."""


def read_requirements(
    wanted: Sequence[str] | None, source: Path, environ: Mapping[str, str] = os.environ
) -> list[Line]:
    """What is to be installed: the field's lines or, where it isn't set, those of requirements.txt in the source.

    Raises:
        ConfigError: a file isn't there, or no text.
    """
    if wanted is None:
        lines = [Line(FILE, f"-r {FILE}")] if (source / FILE).is_file() else []
    else:
        lines = [Line(f"{FIELD}[{index}]", text) for index, text in enumerate(wanted)]
    return [*_with_files(lines, source, environ, seen=[])]


def check_policy(lines: Sequence[Line], policy: PipPolicy, environ: Mapping[str, str] = os.environ) -> None:
    """Holds the lines against the policy of the job's runtime.

    Raises:
        ConfigError: one leads elsewhere than it allows.
    """
    for line in lines:
        if address := policy.refused_address(_filled_in(line.text, environ)):
            raise ConfigError(
                f"{line.place}: leads to {address}, from where the policy of the job's runtime lets no package come; "
                f"take it from {policy.places}"
            )


def _with_files(lines: Sequence[Line], folder: Path, environ: Mapping[str, str], seen: list[Path]) -> Iterator[Line]:
    """The lines with those of the files that they name in their place, each file once. `folder` is what paths start
    from.
    """
    for line in lines:
        named = _NAMED_FILE.fullmatch(line.text)
        name = _filled_in(named[4].strip("\"'"), environ) if named else ""
        if named is None and _HIDDEN_FILE.match(line.text):
            raise ConfigError(
                f"{line.place}: {line.text}: names a file behind another option; give it a line of its own"
            )
        if named is None or "://" in name:
            yield line
            continue
        path = (folder / name).resolve()
        if path in seen:
            continue
        seen.append(path)
        if not path.is_file() or len(seen) > MAX_FILES:
            raise ConfigError(
                f"{line.place}: {line.text}: there is no such file beside it in the code; correct the name, or add it "
                "to trainer.source"
            )
        constrains = line.constrains or "c" in named.groups()
        yield from _with_files(_lines(path, name, constrains=constrains), path.parent, environ, seen)


def _lines(path: Path, name: str, *, constrains: bool = False) -> list[Line]:
    text = re.sub(r"\\\r?\n", " ", _read(path, name))
    numbered = ((number, _COMMENT.sub("", line).strip()) for number, line in enumerate(text.splitlines(), 1))
    return [Line(f"{name}, line {number}", line, constrains) for number, line in numbered if line]


def _read(path: Path, name: str) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    encoding = next((_MARKS[mark] for mark in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if len(data) > MAX_FILE_BYTES or "\0" in text:
        raise ConfigError(
            f"{sendable(name)} is no requirements file: it must be text in UTF-8, of {MAX_FILE_BYTES:,} bytes at most; "
            "save it so, or name what is to be installed in trainer.requirements"
        )
    return text


def _filled_in(text: str, environ: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: environ.get(found[1], found[0]), text)
