"""The files of a model: what of the output folder is one of them, and under which name storage has it."""

import re
from collections.abc import Callable, Container, Sequence
from fnmatch import fnmatchcase
from itertools import chain, count
from pathlib import Path

from footplate_trainer.errors import NoModel, sendable
from footplate_trainer.signature import SIGNATURE
from footplate_trainer.supervisor import model_claims

MANIFEST = "manifest.json"
LISTED = 5
"""Most names in a note."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def model_files(folder: Path, note: Callable[[str], object], *, exclude: Sequence[str] = ()) -> dict[str, Path]:
    """The files of the model, by name. A link to a file is that file; whatever else isn't one is left out.

    Args:
        folder: what the code has left.
        note: tells the user what is left out, or has another name.
        exclude: the job's `output.exclude`.

    Raises:
        NoModel: there is none.
    """
    everything = sorted(folder.rglob("*"))
    found = [path for path in everything if not is_excluded(path.relative_to(folder).as_posix(), exclude)]
    if exclude and any(path.is_file() for path in everything) and not any(path.is_file() for path in found):
        note("output.exclude names all that the code has left, and would leave no model: nothing is left out")
        found = everything
    files = _by_name(folder, [path for path in found if path.is_file()], note)
    left_out = [_what_it_is(path, folder) for path in found if not path.is_file() and not _is_folder(path)]
    if left_out:
        note(
            f"not in the model: {listed(left_out)}; only files are. Write what a link leads to into "
            "$FOOTPLATE_OUTPUT_DIR itself"
        )
    if not files:
        raise NoModel(
            "spec.output is set, but the code ended without leaving a file in $FOOTPLATE_OUTPUT_DIR "
            f"({folder}) on node 0; save the model there, or remove spec.output"
        )
    return files


def _by_name(folder: Path, paths: Sequence[Path], note: Callable[[str], object]) -> dict[str, Path]:
    """Files by the names that they get in storage, which takes UTF-8 without control characters, and where some names
    are ours. A model isn't lost for a name: who can't have his own gets another.
    """
    own = {path: path.relative_to(folder).as_posix() for path in paths}
    files: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: _not_ours(own[path]) != own[path]):  # who can, keeps his own
        files[free(_not_ours(own[path]), files)] = path
    if renamed := [name for name, path in sorted(files.items()) if name != own[path]]:
        note(
            "files of the model have other names in storage, since theirs are no UTF-8, hold control characters or are "
            f"Footplate's own ({MANIFEST}, {SIGNATURE}, {model_claims.FOLDER}/): {listed(renamed)}"
        )
    return dict(sorted(files.items()))


def _not_ours(name: str) -> str:
    first, slash, rest = storable(name).partition("/")
    return f"{'own-' if first in (model_claims.FOLDER, MANIFEST, SIGNATURE) else ''}{first}{slash}{rest}"


def storable(name: str) -> str:
    """A file's name as storage can have it."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", sendable(name))


def is_excluded(name: str, patterns: Sequence[str]) -> bool:
    """True where a pattern names the file, or a folder that it is in: by name, or one with a slash by its path."""
    parts = name.split("/")
    paths = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    return any(
        fnmatchcase(each, pattern.rstrip("/"))
        for pattern in patterns
        for each in (paths if "/" in pattern.rstrip("/") else parts)
    )


def free(name: str, taken: Container[str]) -> str:
    """A name that nobody has yet: this one, or one with a number."""
    numbered = (f"{name}~{n}" for n in count(2))
    return next(each for each in chain((name,), numbered) if each not in taken)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _what_it_is(path: Path, folder: Path) -> str:
    name = sendable(path.relative_to(folder).as_posix())
    if not path.is_symlink():
        return f"{name} (a pipe, socket or device)"
    return f"{name} (a link to {'the folder' if path.is_dir() else 'nothing:'} {sendable(str(path.readlink()))})"


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"
