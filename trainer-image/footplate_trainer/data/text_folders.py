"""Finds text files whose folder is their class, `train/positive/1.txt`, and reads them."""

import codecs
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from footplate_trainer.data.image_folders import list_files
from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.errors import DataError

SUFFIX = ".txt"
LARGEST_TEXT = 2**24
"""Bytes of a file that are read."""
BATCH_LETTERS, BATCH_FILES = 2**24, 8192


@dataclass(frozen=True, slots=True)
class ClassFolder:
    """The text files of one class, each a row; `names` are the columns' of the text and of the class."""

    path: Path
    label: str
    files: tuple[Path, ...]
    names: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many texts there are."""
        return len(self.files)

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """The texts, and the class beside each."""
        texts: list[str] = []
        letters = 0
        for file in self.files:
            texts.append(read_text(file)[0])
            letters += len(texts[-1])
            if letters > BATCH_LETTERS or len(texts) == BATCH_FILES:
                yield self._batch(texts, types)
                texts, letters = [], 0
        if texts:
            yield self._batch(texts, types)

    def _batch(self, texts: list[str], types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
        columns = [pa.array(texts, pa.large_string()), pa.array([self.label] * len(texts), pa.large_string())]
        return pa.RecordBatch.from_arrays(columns, list(types))


def read_text(path: Path) -> tuple[str, bool]:
    """What a file says, and whether it is in an encoding that was guessed: UTF-8, UTF-16 with its mark, or else
    Windows-1252.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST_TEXT)
        whole = not file.read(1)
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16", errors="replace"), False
    try:
        return codecs.getincrementaldecoder("utf-8-sig")().decode(content, final=whole), False
    except UnicodeDecodeError:
        return content.decode("windows-1252", errors="replace"), True


def find_folders(
    folder: Path, *, channel: str, names: tuple[str, str], said: list[str]
) -> dict[str, list[ClassFolder]]:
    """The classes of each split; of the channel's own where no folder is named as one. Empty where there are no text
    files.

    Raises:
        DataError: it can't be told which folders are the classes.
    """
    found: dict[tuple[str, Path], list[Path]] = defaultdict(list)
    outside: list[Path] = []
    depths: dict[int, Path] = {}
    for path in list_files(folder):
        if path.suffix.lower() != SUFFIX or path.is_dir():
            continue
        split, classes = _split_and_classes(path.relative_to(folder).parts[:-1])
        if classes:
            found[split or channel, path.parent].append(path)
            depths.setdefault(len(classes), path.parent)
        else:
            outside.append(path)
    if len(depths) > 1:
        several = " and in ".join(str(parent.relative_to(folder)) for parent in depths.values())
        raise DataError(
            f"{folder}: there are texts in {several}, so it can't be told which folders are the classes; put each "
            "class's files into one folder, all of them equally deep"
        )
    if outside and found:
        more = f" and {len(outside) - 3:,} more" if len(outside) > 3 else ""
        names_of = ", ".join(path.name for path in outside[:3])
        said.append(f"input {channel}: left out, as in no class's folder: {names_of}{more}")
    splits: dict[str, list[ClassFolder]] = defaultdict(list)
    for (split, parent), files in sorted(found.items()):
        splits[split].append(ClassFolder(parent, parent.name, tuple(files), names))
    return dict(splits)


def _split_and_classes(folders: tuple[str, ...]) -> tuple[str | None, tuple[str, ...]]:
    """The split that the folders around a file name, the outermost first, and those inside of it, the last of which is
    the class.
    """
    for place, name in enumerate(folders):
        if split := SPLIT_OF_NAME.get(name.lower()):
            return split, folders[place + 1 :]
    return None, folders
