"""Reads JSON lines: an object a line, of which some keys are texts."""

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from footplate_trainer.data.table_dialect import open_text
from footplate_trainer.rank.report import reporter

NAME = re.compile(r".*\.(jsonl|ndjson)(\.(gz|zst|bz2))?", re.IGNORECASE)
LONGEST_LINE = 2**26
BATCH_BYTES = 2**24
BEAT_LINES = 8192


@dataclass(frozen=True, slots=True)
class JsonLinesFile:
    """A file of JSON lines, the keys of its objects, and how many there are."""

    path: Path
    names: tuple[str, ...]
    rows: int

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Its rows; of the keys of `types` alone, as texts. A key that is missing, or null, is null."""
        rows: list[list[str | None]] = []
        read = 0
        for number, size, row in read_objects(self.path):
            rows.append([_text(row.get(name), name, number) for name in types])
            read += size
            if read > BATCH_BYTES or len(rows) == BEAT_LINES:
                yield _batch(rows, types)
                rows, read = [], 0
        if rows:
            yield _batch(rows, types)


def is_lines(path: Path) -> bool:
    """Whether the file's name is one of JSON lines."""
    return bool(NAME.fullmatch(path.name))


def survey_lines(path: Path) -> JsonLinesFile:
    """Reads all of a file, to learn its keys and how many rows it has.

    Raises:
        OSError, ValueError: it can't be read, naming the line.
    """
    names: dict[str, None] = {}
    count = 0
    for count, (_, _, row) in enumerate(read_objects(path), start=1):
        names.update(dict.fromkeys(row))
        if count % BEAT_LINES == 0:
            reporter().beat()
    return JsonLinesFile(path, tuple(names), count)


def find_fault(path: Path) -> str:
    """What keeps a file from being a table, by its line: no object in JSON, or a key whose values are of another kind
    than before. Empty where it is something else.

    Raises:
        OSError: it can't be read.
    """
    kinds: dict[str, tuple[str, int]] = {}
    try:
        for number, _, row in read_objects(path):
            for name, value in row.items():
                kind, first = kinds.setdefault(name, (kind_of(value), number)) if value is not None else ("", 0)
                if value is not None and kind != kind_of(value):
                    return f"{name!r} is {kind_of(value)} in line {number:,}, and {kind} in line {first:,}"
    except ValueError as error:
        return str(error)
    return ""


def read_objects(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """The number of each line that isn't empty, its bytes, and the object that it holds.

    Raises:
        OSError, ValueError: it can't be read, naming the line.
    """
    with io.BufferedReader(open_text(path)) as stream:
        number = 0
        while line := stream.readline(LONGEST_LINE + 1):
            number += 1
            if len(line) > LONGEST_LINE:
                raise ValueError(
                    f"line {number:,} has more than {LONGEST_LINE:,} bytes; write an object a line, without commas "
                    "between them and brackets around them"
                )
            if line.strip():
                yield number, len(line), _parse(line, number)


def _parse(line: bytes, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(
            f"line {number:,} isn't UTF-8, which JSON is (byte {error.start + 1}: {line[error.start : error.end]!r}); "
            "convert the file, or write other letters as \\u escapes"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number:,} is no JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError(f'line {number:,} holds {kind_of(row)}, not an object such as {{"text": …, "label": …}}')
    return row


def _text(value: Any, name: str, number: int) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value if value is None else value.encode(errors="replace").decode()
    if isinstance(value, int | float):
        return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    raise ValueError(f"line {number:,}: {name!r} is {kind_of(value)}, not a text")


def kind_of(value: Any) -> str:
    """What a value of JSON is, for people."""
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def _batch(rows: Sequence[Sequence[str | None]], types: Mapping[str, pa.DataType]) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    return pa.RecordBatch.from_arrays([pa.array(list(column), pa.large_string()) for column in columns], list(types))
