"""Columns of Hugging Face's datasets that hold the numbers of classes, whose names are in the schema."""

import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

Names = Mapping[str, tuple[str, ...]]
"""The names of a column's classes, by the column."""


def find_names(schema: pa.Schema) -> Names:
    """The columns of integers that the schema's metadata know as classes (`ClassLabel`)."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        known = {name: tuple(map(str, each["names"])) for name, each in features.items() if "names" in each}
    except (KeyError, ValueError, TypeError, AttributeError):  # whoever wrote it
        return {}
    return {
        name: names
        for name, names in known.items()
        if name in schema.names and pa.types.is_integer(schema.field(name).type)
    }


def with_names(batch: pa.RecordBatch, names: Names) -> pa.RecordBatch:
    """The same with names in place of numbers; null where a number has none, as -1, which stands for no class."""
    columns = [_named(column, names.get(name)) for name, column in zip(batch.schema.names, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _named(numbers: pa.Array, names: tuple[str, ...] | None) -> pa.Array:
    if names is None:
        return numbers
    known = pc.and_(pc.greater_equal(numbers, 0), pc.less(numbers, len(names)))
    return pa.array(names, pa.string()).take(pc.if_else(known, numbers, None).cast(pa.int64()))
