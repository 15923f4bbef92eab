"""Finds the pictures of each class in a channel's folder, whatever folders lie around and between."""

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path

from footplate_trainer.data.idx import IDX_NAME
from footplate_trainer.data.pictures import KINDS, SUFFIXES, is_hidden
from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.errors import DataError

Note = Callable[[str], None]
"""Takes what a user should know of the data though nothing is wrong with them."""


def innermost(folder: Path) -> Path:
    """What the folder holds, where that is one folder around the data, such as an archive's: `animals/train/cat`."""
    while len(inside := subfolders(folder)) == 1 and not _holds_data(folder):
        if not subfolders(inside[0]) and not any(IDX_NAME.fullmatch(name) for name in visible_names(inside[0])):
            break
        folder = inside[0]
    return folder


def find_splits(folder: Path, *, channel: str, note: Note) -> dict[str, Path]:
    """The folder of each split, by what their names say; all of it is the channel's where they don't tell them apart.

    Raises:
        DataError: what is named as a split lies beside what may be classes, or holds none.
    """
    folders = subfolders(folder)
    named = {child: split for child in folders if (split := _split_of(child.name))}
    if len(named) < 2:
        return {channel: folder}
    inside = {child: innermost(child) for child in folders}
    others = [child for child in folders if child not in named]
    sensible = len(set(named.values())) == len(named) and all(subfolders(inside[child]) for child in named)
    if not sensible or any(len(subfolders(inside[child])) > 1 for child in others):
        raise DataError(
            f"{folder}: the folders {', '.join(child.name for child in named)} are named as splits of the data, not as "
            f"classes, among {some_names(folder)}; leave train/, val/ and test/ alone there, each with a folder for "
            "each class"
        )
    if others:
        note(f"{folder}: left out, without folders of classes: {', '.join(child.name for child in others[:5])}")
    return {split: inside[child] for child, split in named.items()}


def find_classes(folder: Path, *, note: Note) -> dict[str, list[Path]]:
    """The pictures of each class: of each folder directly below, whose name it has. In the order of the names.

    Raises:
        DataError: it can't be told which folders are the classes, or one of them is empty.
    """
    folders = subfolders(folder)
    _check_depth(folder, folders)
    classes: dict[str, list[Path]] = {}
    for child in folders:
        pictures = [path for path in list_files(child) if is_picture(path)]
        if not pictures:
            raise DataError(
                f"{child}: the class {child.name!r} has no {KINDS} files (the folder holds {some_names(child)}); "
                "add some, or remove the folder"
            )
        name = _class_name(child)
        if name in classes:
            note(f"{folder}: two folders are named {name}, and count as one class")
        classes.setdefault(name, []).extend(pictures)
    _note_others(folder, {path for paths in classes.values() for path in paths}, note)
    return dict(sorted(classes.items()))


def _check_depth(folder: Path, folders: list[Path]) -> None:
    """Raises DataError where the pictures of some classes lie deeper than those of others, or all of them do."""
    shallow = [child for child in folders if any(is_picture(child / name) for name in visible_names(child))]
    deep = [child for child in folders if child not in shallow and subfolders(child)]
    if shallow and deep:
        raise DataError(
            f"{folder}: {shallow[0].name} holds pictures, but {deep[0].name} holds folders ({some_names(deep[0])}), so "
            "it can't be told which folders are the classes; put each class's pictures into one folder, all of them "
            "equally deep"
        )
    if manifold := [child for child in deep if len(subfolders(child)) > 1]:
        raise DataError(
            f"{folder}: its folders hold no pictures but folders of them ({manifold[0].name} holds "
            f"{some_names(manifold[0])}), so it can't be told whether {manifold[0].name} is a class, or "
            f"{subfolders(manifold[0])[0].name} is; put each class's pictures into one folder"
        )


def _class_name(folder: Path) -> str:
    """The folder's name as text in composed letters: macOS writes é as two, others as one."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:
        raise DataError(
            f"{str(folder).encode(errors='replace').decode()}: the folder's name isn't UTF-8; rename it"
        ) from None
    return unicodedata.normalize("NFC", folder.name)


def _split_of(name: str) -> str | None:
    words = [name.lower(), *re.split(r"[-_. ]", name.lower())]
    return next((SPLIT_OF_NAME[word] for word in words if word in SPLIT_OF_NAME), None)


def _holds_data(folder: Path) -> bool:
    return any(is_picture(folder / name) or IDX_NAME.fullmatch(name) for name in visible_names(folder))


def is_picture(path: Path) -> bool:
    """Whether the file's name is one of a picture that can be read."""
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def list_files(folder: Path) -> list[Path]:
    """All files below the folder but hidden ones, links to folders and to nothing included, in their names' order."""
    found: list[Path] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        links = [name for name in folders if Path(parent, name).is_symlink()]
        found += [Path(parent, name) for name in [*files, *links] if not is_hidden(name)]
    return sorted(found)


def subfolders(folder: Path) -> list[Path]:
    """The folders directly below, without hidden ones."""
    return sorted(child for child in folder.iterdir() if child.is_dir() and not is_hidden(child.name))


def visible_names(folder: Path) -> list[str]:
    """The names of what lies directly below, without hidden ones."""
    return sorted(child.name for child in folder.iterdir() if not is_hidden(child.name))


def some_names(folder: Path) -> str:
    """A few names of what lies directly below, for messages."""
    names = sorted(child.name for child in folder.iterdir())
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "") or "nothing"


def _note_others(folder: Path, read: set[Path], note: Note) -> None:
    classes = {child.name for child in subfolders(folder)}
    others = [
        name
        for path in list_files(folder)
        if path not in read and (name := str(path.relative_to(folder))) not in classes
    ]
    if others:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        note(
            f"{folder}: {len(others):,} files are left out, as they are no {KINDS} files in a class's folder: "
            f"{', '.join(others[:3])}{more}"
        )
