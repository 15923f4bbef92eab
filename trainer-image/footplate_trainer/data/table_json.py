"""Reads JSON lines: an object a line, whose fields are the columns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.json

from footplate_trainer.data.table_dialect import open_text
from footplate_trainer.data.text_lines import find_fault

BLOCK_BYTES = 2**20
LARGEST_BLOCK = 2**31 - 1


@dataclass(frozen=True, slots=True)
class JsonFile:
    """A file of JSON lines, its columns' names and types, and its rows."""

    path: Path
    names: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    rows: int
    block_bytes: int

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Its rows; the columns of `types` alone, in that order."""
        stored = pa.schema(zip(self.names, self.types, strict=True))
        schema = pa.schema([(name, stored.field(name).type) for name in types])
        yield from _read(self.path, self.block_bytes, schema).to_batches()


def survey_json(path: Path) -> JsonFile:
    """Reads all of a file, to learn what it holds. An object may be larger than a block.

    Raises:
        pa.ArrowException, OSError, ValueError: it can't be read.
    """
    block_bytes = BLOCK_BYTES
    while True:
        try:
            table = _read(path, block_bytes)
            table.validate(full=True)
            return JsonFile(path, tuple(table.schema.names), tuple(table.schema.types), table.num_rows, block_bytes)
        except pa.ArrowInvalid as error:
            if "straddl" not in str(error) or block_bytes == LARGEST_BLOCK:
                raise ValueError(find_fault(path) or str(error)) from None  # pyarrow counts rows from a block's first
            block_bytes = min(8 * block_bytes, LARGEST_BLOCK)


def _read(path: Path, block_bytes: int, schema: pa.Schema | None = None) -> pa.Table:
    ignore = "infer" if schema is None else "ignore"
    with open_text(path) as stream:
        return pa.json.read_json(
            stream,
            read_options=pa.json.ReadOptions(block_size=block_bytes),
            parse_options=pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior=ignore),
        )
