"""Folders that `save_to_disk` of Hugging Face's datasets has written: files of Arrow, and in JSON which of them count.

What else lies there isn't the data's: the library keeps what `map` and `filter` have made beside them, as
`cache-….arrow`. Of a DatasetDict each folder is a split.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from footplate_trainer.data.splits import CHANNELS, SPLIT_OF_NAME
from footplate_trainer.errors import DataError

STATE, PARTS = "state.json", "dataset_dict.json"


def find_saved_files(folder: Path, *, channel: str, said: list[str]) -> dict[str, list[Path]] | None:
    """The files of each split; None where datasets hasn't written the folder. A Dataset is the channel's own split.

    Args:
        said: which splits are left out, being none of ours, is appended.

    Raises:
        DataError: it isn't whole, or none of its splits is one of ours.
    """
    if (folder / STATE).is_file():
        return {channel: _files(folder)}
    if not (folder / PARTS).is_file():
        return None
    names: list[str] = _listed(folder / PARTS, "splits", str)
    named = {SPLIT_OF_NAME[name.lower()]: name for name in names if name.lower() in SPLIT_OF_NAME}
    if not named:
        raise DataError(
            f"input {channel}: of the splits of its DatasetDict, {', '.join(names)}, none is called "
            f"{', '.join(CHANNELS[:-1])} or {CHANNELS[-1]}; let the uri end in /{names[0] if names else 'train'}/ to "
            "take one of them"
        )
    if others := [name for name in names if name not in named.values()]:
        said.append(f"input {channel}: left out, as other splits of its DatasetDict are named as ours: "
                    f"{', '.join(others)}")  # fmt: skip
    return {split: _files(folder / name) for split, name in named.items()}


def _files(folder: Path) -> list[Path]:
    files = [folder / str(each.get("filename")) for each in _listed(folder / STATE, "_data_files", dict)]
    if missing := [path for path in files if not path.is_file()]:
        raise DataError(f"{missing[0]} is named by {folder / STATE}, but isn't there; save the data set anew")
    if not files or _read(folder / STATE).get("_indices_data_files"):
        raise DataError(
            f"{folder / STATE} says that the rows are chosen by other files, or are none; save the data set anew by "
            "save_to_disk of datasets 2.0 or newer"
        )
    return files


def _listed(path: Path, key: str, kind: type) -> list[Any]:
    found = _read(path).get(key)
    if not isinstance(found, list) or not all(isinstance(each, kind) for each in found):
        raise DataError(f"{path} has no list {key!r}, as datasets writes it; save the data set anew")
    return found


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read: {error}; save the data set anew") from None
    return found if isinstance(found, dict) else {}
