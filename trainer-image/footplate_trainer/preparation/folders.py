"""Folders of pictures or of texts, a folder for each class, as a table with a row for each file."""

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from footplate.api.data import SPLITS
from footplate_trainer.data.pictures import FORMATS, SUFFIXES, is_hidden
from footplate_trainer.data.pictures import KINDS as PICTURES
from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.data.table_folders import KINDS as TABLES
from footplate_trainer.errors import DataError

TEXTS = (".txt", ".text", ".md")
FILES_AT_ONCE = 8
NAMES: Sequence[str] = SPLITS
SMALL = (64, 64)
"""JPEGs are decoded about so small: that they can be is all that is asked."""


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of some channels, a row each."""

    table: pa.Table
    paths: Sequence[Path]
    parts: NDArray[np.uint8]
    """Of each the place of its part in SPLITS."""
    unreadable: Sequence[str]
    notes: Sequence[str]


@dataclass(slots=True)
class _Found:
    """A file, and what is known of it."""

    path: Path
    file: str
    part: int
    class_name: str
    bytes: int = 0
    digest: str = ""
    measures: dict[str, int | None] = field(default_factory=dict)
    trouble: str = ""


def read_folders(channels: Mapping[str, Path]) -> Folder:
    """All pictures of some channels or, where there are none, all texts.

    Raises:
        DataError: there are neither.
    """
    there = [(channel, folder, path) for channel, folder in channels.items() for path in _files(folder)]
    look: Callable[[_Found], None] = _look_at_picture
    files = [each for each in there if each[2].suffix.lower() in SUFFIXES]
    if not files:
        look, files = _look_at_text, [each for each in there if each[2].suffix.lower() in TEXTS]
    if not files:
        raise DataError(
            f"spec.data: the inputs {', '.join(channels)} hold no {TABLES} files, no {PICTURES} pictures and no texts "
            f"({', '.join(TEXTS)}); check their uri"
        )
    roots = {channel: _innermost(folder) for channel, folder in channels.items()}
    found = [_place(channel, folder, roots[channel], path) for channel, folder, path in files]
    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(look, found))
    left = len(there) - len(files)
    notes = [f"{left:,} files are left out, which are of another kind"] if left else []
    return Folder(_table(found), [each.path for each in found], np.array([each.part for each in found], np.uint8),
                  [f"{each.file}: {each.trouble}" for each in found if each.trouble], notes)  # fmt: skip


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if not any(map(is_hidden, path.relative_to(folder).parts))]


def _innermost(folder: Path) -> Path:
    """What the folder holds, where that is one folder around all data, such as an archive's."""
    while True:
        inside = [path for path in folder.iterdir() if not is_hidden(path.name)]
        if len(inside) != 1 or not inside[0].is_dir() or not any(path.is_dir() for path in inside[0].iterdir()):
            return folder
        folder = inside[0]


def _place(channel: str, folder: Path, root: Path, path: Path) -> _Found:
    """Its part by its channel or, in train, by a first folder that is named so; its class by the next folder."""
    folders = list(path.relative_to(root).parts[:-1])
    part: str = channel if channel in SPLITS else SPLITS[0]
    if folders and part == SPLITS[0] and folders[0].lower() in SPLIT_OF_NAME:
        part = SPLIT_OF_NAME[folders.pop(0).lower()]
    name = folders[0] if folders else ""
    return _Found(path, f"{channel}/{path.relative_to(folder)}", NAMES.index(part), name)


def _look_at_picture(found: _Found) -> None:
    _measure(found)
    found.measures = dict.fromkeys(("width", "height", "channels"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(found.path, formats=FORMATS) as picture:
                width, height = picture.size
                channels = len(picture.getbands())
                picture.draft("RGB", SMALL)
                picture.load()
    except Exception as error:  # what a decoder raises for damaged files is anything
        found.trouble = f"can't be read: {error}"
        return
    found.measures = {"width": width, "height": height, "channels": channels}


def _look_at_text(found: _Found) -> None:
    data = _measure(found)
    try:
        found.measures = {"characters": len(data.decode("utf-8-sig"))}
    except UnicodeDecodeError as error:
        found.measures = {"characters": None}
        found.trouble = f"isn't UTF-8 ({error.reason} at byte {error.start:,}); save it as UTF-8"


def _measure(found: _Found) -> bytes:
    data = found.path.read_bytes()
    found.bytes, found.digest = len(data), hashlib.sha256(data).hexdigest()[:16]
    return data


def _table(found: Sequence[_Found]) -> pa.Table:
    columns = {
        "file": pa.array([each.file for each in found], pa.string()),
        "class": pa.array([each.class_name for each in found], pa.string()),
        "bytes": pa.array([each.bytes for each in found], pa.int64()),
    }
    for name in found[0].measures:
        columns[name] = pa.array([each.measures[name] for each in found], pa.int64())
    return pa.table({**columns, "digest": pa.array([each.digest for each in found], pa.string())})
