"""Finds the files of tables in a channel's folder, by split.

A channel holds one split, or several whose names tell them apart (`train.csv` and `test.csv`, `train/a.parquet`).
"""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from footplate_trainer.data.pictures import is_hidden
from footplate_trainer.data.saved_datasets import find_saved_files
from footplate_trainer.data.splits import SPLIT_OF_NAME
from footplate_trainer.data.table_delta import find_delta_files, is_delta
from footplate_trainer.data.text_lines import is_lines
from footplate_trainer.errors import DataError

CSV_NAME = re.compile(r".*\.(csv|tsv)(\.(gz|zst|bz2))?", re.IGNORECASE)
PARQUET = (".parquet", ".pq")
FEATHER = (".feather", ".arrow")
KINDS = "CSV, TSV, JSON lines, Parquet or Feather"
EXAMPLES = " (.csv, .csv.gz, .parquet, …)"
_PARTITION = re.compile(r"([^\W\d]\w*)=(.*)")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def find_files(
    folder: Path, *, channel: str, said: list[str], wanted: Callable[[Path], bool] | None = None, kinds: str = KINDS
) -> dict[str, list[Path]]:
    """The files below a channel's folder, by the split that their names say.

    Files whose names say nothing are of the channel's own split, unless others are named as that one and as another;
    and so are all where only one split is named.

    Args:
        said: what there is to say of files that are left out is appended.
        wanted, kinds: whether a file is one of those, and what they are called; default tables.

    Raises:
        DataError: there are none, or those of a Delta table or a data set of Hugging Face's can't be read.
        ConfigError: the image can't read Delta tables.
    """
    if is_delta(folder):
        return {channel: find_delta_files(folder, said=said)}
    if saved := find_saved_files(folder, channel=channel, said=said):
        return saved
    wanted = wanted or is_table
    there = sorted(path for path in folder.rglob("*") if _is_visible(path, folder)) if folder.is_dir() else []
    files = [path for path in there if wanted(path)]
    if not files:
        raise DataError(
            f"input {channel}: {folder} holds no {kinds} files{EXAMPLES if kinds == KINDS else ''}; "
            "check the input's uri, and that it ends in '/' if it is a folder"
        )
    if others := [path for path in there if not wanted(path)]:
        said.append(f"input {channel}: left out, as no {kinds} files: {_list(others)}")
    named: dict[str | None, list[Path]] = {}
    for path in files:
        named.setdefault(_split_of(path.relative_to(folder)), []).append(path)
    unnamed = named.pop(None, [])
    if len(named) > 1 and channel in named and unnamed:
        said.append(f"input {channel}: left out, as other files are named as splits: {_list(unnamed)}")
        unnamed = []
    found = {str(split): paths for split, paths in named.items()}
    if unnamed:
        found[channel] = sorted([*found.get(channel, []), *unnamed])
    return found if len(found) > 1 else {channel: files}


def is_table(path: Path) -> bool:
    """Whether the file's name is one of a table that can be read."""
    return bool(CSV_NAME.fullmatch(path.name)) or is_lines(path) or path.suffix.lower() in (*PARQUET, *FEATHER)


def partition_of(path: Path) -> dict[str, str]:
    """What a file's folders say of its rows by Hive's convention: `country=de` and so on, as texts."""
    found = (_PARTITION.fullmatch(part) for part in path.parts[:-1])
    return {each[1]: "" if each[2] == _NO_VALUE else unquote(each[2]) for each in found if each}


def _is_visible(path: Path, folder: Path) -> bool:
    """Whether it is a file, and no copy that a notebook or an archiver made beside the data."""
    return not path.is_dir() and not any(is_hidden(part) for part in path.relative_to(folder).parts)


def _list(paths: list[Path]) -> str:
    more = f" and {len(paths) - 3:,} more" if len(paths) > 3 else ""
    return ", ".join(path.name for path in paths[:3]) + more


def _split_of(path: Path) -> str | None:
    """What a file's folders say, the outermost first, and then the words of its name."""
    words = re.split(r"[-_. ]+", path.name.lower())
    said = [SPLIT_OF_NAME.get(word) for word in (*(part.lower() for part in path.parts[:-1]), *words)]
    return next((split for split in said if split), None)
