"""Finds the texts and labels of each split in the input channels: in tables, JSON lines, or text files by folder."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from footplate.api.recipes import PATH
from footplate_trainer.data.column_names import no_column
from footplate_trainer.data.image_folders import list_files
from footplate_trainer.data.splits import TEST, TRAIN, VALIDATION
from footplate_trainer.data.table_csv import CsvFile
from footplate_trainer.data.table_files import Source, is_text, survey_files
from footplate_trainer.data.table_folders import find_files, is_table
from footplate_trainer.data.text_folders import ClassFolder, find_folders, read_text
from footplate_trainer.data.text_lines import is_lines, survey_lines
from footplate_trainer.errors import ConfigError, DataError
from footplate_trainer.rank.report import reporter

LINES = "JSON lines"
TABLES = "CSV, TSV, Parquet or Feather"


def find(inputs: Mapping[str, Path], *, text: str, target: str, said: list[str]) -> dict[str, Source]:
    """The texts of each split; every source has the columns `text` and `target`. A channel of a split's own name comes
    before what another one has of it.

    Raises:
        DataError: there are no texts, or files lack a column or can't be read.
        ConfigError: both columns are the same.
    """
    if text == target:
        raise ConfigError(f"{PATH}: text and target both name the column {text!r}; name the one that holds the class")
    found: dict[str, Source] = {}
    if TRAIN in inputs:
        found = _of_channel(inputs[TRAIN], TRAIN, text=text, target=target, said=said)
    for split in (VALIDATION, TEST):
        if split in inputs:
            if split in found:
                said.append(f"input {TRAIN}: its {split} data are left out, as there is an input {split}")
            found[split] = _of_channel(inputs[split], split, text=text, target=target, said=said)[split]
        elif split in found:
            said.append(f"input {TRAIN}: some files are taken for {split}, as named so")
    return found


def _of_channel(folder: Path, channel: str, *, text: str, target: str, said: list[str]) -> dict[str, Source]:
    files = list_files(folder) if folder.is_dir() else []
    if any(map(_is_typed, files)):
        named = find_files(folder, channel=channel, said=said, wanted=_is_typed, kinds=TABLES)
        sources = {split: survey_files(paths, channel=channel) for split, paths in named.items()}
    elif any(map(is_lines, files)):
        named = find_files(folder, channel=channel, said=said, wanted=is_lines, kinds=LINES)
        sources = {split: _lines(paths) for split, paths in named.items()}
    else:
        folders = find_folders(folder, channel=channel, names=(text, target), said=said) if files else {}
        sources = {split: _folders(classes, channel=channel) for split, classes in folders.items()}
    if channel not in sources:
        held = f"holds {' and '.join(sources)} data, but none named {channel}" if sources else "holds no texts"
        raise DataError(
            f"input {channel}: {folder} {held}; bring {TABLES} files or {LINES} (.jsonl) with columns {text!r} and "
            f"{target!r}, or text files (.txt) in a folder for each class. Check the input's uri, and that it ends in "
            "'/' if it is a folder"
        )
    kept = {}
    for split, source in sources.items():
        if split != channel and target not in _names(source):
            said.append(f"input {channel}: its {split} data are left out, without the column {target!r}")
        else:
            kept[split] = _columns(source, text, target)
    return kept


def _is_typed(path: Path) -> bool:
    """Whether it is a table whose columns have types of their own; of JSON lines texts are wanted, whatever else is in
    them.
    """
    return is_table(path) and not is_lines(path)


def _lines(paths: list[Path]) -> Source:
    files = []
    for path in paths:
        try:
            file = survey_lines(path)
        except (OSError, ValueError) as error:
            raise DataError(f"{path} can't be read: {error}. Correct or remove it") from None
        if not file.rows:
            raise DataError(f"{path} has no rows; fill or remove it")
        files.append(file)
    return Source(tuple(files), pa.schema([]), ())


def _folders(classes: list[ClassFolder], *, channel: str) -> Source:
    guessed = []
    for path in (path for each in classes for path in each.files):
        if read_text(path)[1]:
            guessed.append(path.name)
        reporter().beat()
    said: tuple[str, ...] = ()
    if guessed:
        said = (
            f"input {channel}: {len(guessed):,} texts aren't UTF-8, and are read as Windows-1252 (Latin-1), such as "
            f"{guessed[0]}; save them as UTF-8 if letters are wrong",
        )
    return Source(tuple(classes), pa.schema([]), said)


def _names(source: Source) -> list[str]:
    """The columns that all files have."""
    first, *others = source.files
    return [name.strip() for name in first.names if all(name in file.names for file in others)]


def _columns(source: Source, text: str, target: str) -> Source:
    """The same with the two columns alone, the text as such.

    Raises:
        DataError: there is none of that name, or it holds no texts.
    """
    for key, name in (("text", text), ("target", target)):
        for file in source.files:
            if name not in (names := [name.strip() for name in file.names]):
                raise no_column(key, name, names, where=f"{file.path} has")
    kinds = dict(zip(source.schema.names, source.schema.types, strict=True))
    if text in kinds and not is_text(kinds[text]) and not all(isinstance(file, CsvFile) for file in source.files):
        raise DataError(f"{PATH}.text: the column {text!r} holds {kinds[text]}, not texts; name the one that does")
    schema = pa.schema([(text, pa.large_string()), (target, kinds.get(target, pa.large_string()))])
    return replace(source, schema=schema)
