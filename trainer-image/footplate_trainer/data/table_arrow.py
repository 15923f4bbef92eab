"""Reads Parquet and Feather files, and streams of Arrow, whose columns have types of their own."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet

from footplate_trainer.data.class_labels import Names, find_names, with_names
from footplate_trainer.data.table_folders import PARQUET, partition_of

BATCH_ROWS = 8192
ARROW_FILE = b"ARROW1"
PAGE_BYTES = 2**16  # of a Parquet file's column, at once; else that is a row group, which may be all of the file


@dataclass(frozen=True, slots=True)
class ArrowFile:
    """A Parquet or Feather file, its columns' names and types, and its rows."""

    path: Path
    names: tuple[str, ...]
    types: tuple[pa.DataType, ...]
    rows: int
    partition: Mapping[str, str]
    """What its folders say of all its rows, as of a data set that is partitioned: `country=de/part-0.parquet`."""
    classes: Names = field(default_factory=dict)

    def batches(self, types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
        """Its rows; the columns of `types` alone, in that order and as plain values, classes by their names."""
        stored = [name for name in types if name not in self.partition]
        for batch in (with_names(_plain(each), self.classes) for each in self._stored(stored)):
            said = {name: pa.array([value] * batch.num_rows) for name, value in self.partition.items() if name in types}
            columns = [said[name] if name in said else batch.column(name) for name in types]
            yield pa.RecordBatch.from_arrays(columns, names=list(types)) if said else batch

    def _stored(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        if self.path.suffix.lower() in PARQUET:
            with pa.parquet.ParquetFile(self.path, pre_buffer=False, buffer_size=PAGE_BYTES) as file:
                yield from file.iter_batches(BATCH_ROWS, columns=names)
        else:
            with pa.memory_map(str(self.path)) as source:
                for batch in _ipc_batches(source)[1]:
                    yield batch.select(names)


def open_arrow(path: Path) -> ArrowFile:
    """What a file says of itself, without its rows.

    Raises:
        pa.ArrowException, OSError: it can't be read.
    """
    if path.suffix.lower() in PARQUET:
        with pa.parquet.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
    else:
        with pa.memory_map(str(path)) as source:
            schema, batches = _ipc_batches(source)
            rows = sum(batch.num_rows for batch in batches)
    partition = {name: value for name, value in partition_of(path).items() if name not in schema.names}
    classes = find_names(schema)
    stored = zip(schema.names, schema.types, strict=True)
    types = [pa.string() if name in classes else _plain_type(kind) for name, kind in stored]
    types += [pa.string() for _ in partition]
    return ArrowFile(path, (*schema.names, *partition), tuple(types), rows, partition, classes)


def _ipc_batches(source: pa.NativeFile) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """What a Feather file holds, or a stream of the same, as Hugging Face's datasets save it."""
    begins = source.read(len(ARROW_FILE))
    source.seek(0)
    if begins != ARROW_FILE:
        stream = pa.ipc.open_stream(source)
        return stream.schema, iter(stream)
    file = pa.ipc.open_file(source)
    return file.schema, map(file.get_batch, range(file.num_record_batches))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values, however Arrow packs them: as views, dictionaries or runs."""
    if pa.types.is_run_end_encoded(kind) or pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    return pa.string() if pa.types.is_string_view(kind) else kind


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [pc.run_end_decode(each) if pa.types.is_run_end_encoded(each.type) else each for each in batch.columns]
    plain = [each.cast(_plain_type(each.type)) for each in columns]
    return pa.RecordBatch.from_arrays(plain, names=batch.schema.names)
