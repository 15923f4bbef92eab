"""Makes one table of all that a run's attempts have reported, for its artifact. A program of its own: pyarrow is heavy.

    python -m footplate_trainer.supervisor.history.table FOLDER ATTEMPT LINES [URI [ENDPOINT]]

LINES is the folder of this attempt's lines, URI that of the run's records, where earlier attempts have left theirs. It
leaves metrics.parquet in FOLDER or, without pyarrow, metrics.jsonl.gz: columns or keys time, step, epoch, and a column
a metric. Steps that were undone are left out. Nothing is left where nothing was reported.
"""

import gzip
import importlib.util
import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from footplate.records import ARTIFACT_METRICS, Line, read_line, standing, write_line

MAX_ROWS = 1_000_000
"""Of more lines two are one row, or three, …: the newest, with what the others say besides."""
MAX_COLUMNS = 256
BATCH_ROWS = 20_000
OWN = ("time", "step", "epoch")

Texts = Iterator[tuple[int, bytes]]
"""Lines, each with its attempt."""


def main(arguments: Sequence[str]) -> None:
    """Runs the program."""
    folder, attempt, lines, *storage = arguments
    spool = Path(folder) / "lines"
    steps = _gather(spool, itertools.chain(_stored(int(attempt), *storage), _local(int(attempt), Path(lines))))
    holds = standing(steps)
    every = -(-sum(holds) // MAX_ROWS)
    chosen = _chosen(spool, holds, every)
    if steps:
        _write(Path(folder), chosen, _names(spool))
    spool.unlink()


def _stored(attempt: int, uri: str = "", endpoint: str = "") -> Texts:
    """The lines of earlier attempts."""
    if uri:
        from footplate_trainer.supervisor.history.earlier import earlier_lines

        yield from earlier_lines(attempt, uri, endpoint or None)


def _local(attempt: int, folder: Path) -> Texts:
    for path in sorted(folder.glob("*")):
        with path.open("rb") as lines:
            yield from ((attempt, line) for line in lines)


def _gather(spool: Path, texts: Texts) -> list[tuple[int, int]]:
    """Puts all lines into one file, and returns of each its attempt and its step."""
    steps: list[tuple[int, int]] = []
    with spool.open("wb") as file:
        for attempt, text in texts:
            if (line := read_line(text)) is not None:
                file.write(text.rstrip(b"\n") + b"\n")
                steps.append((attempt, line.step))
    return steps


def _lines(spool: Path) -> Iterator[Line]:
    with spool.open("rb") as file:
        yield from (line for text in file if (line := read_line(text)) is not None)


def _chosen(spool: Path, holds: Sequence[bool], every: int) -> Iterator[Line]:
    standing_lines = (line for line, holds_still in zip(_lines(spool), holds, strict=True) if holds_still)
    while together := list(itertools.islice(standing_lines, max(1, every))):
        metrics = {name: value for line in together for name, value in line.metrics.items()}
        yield replace(together[-1], metrics=metrics)


def _names(spool: Path) -> list[str]:
    return list(dict.fromkeys(name for line in _lines(spool) for name in line.metrics))[:MAX_COLUMNS]


def _write(folder: Path, lines: Iterator[Line], names: Sequence[str]) -> None:
    parquet, plain = (folder / name for name in ARTIFACT_METRICS)
    unfinished = folder / "unfinished"
    if importlib.util.find_spec("pyarrow") is not None:
        _write_parquet(unfinished, lines, names)
        unfinished.replace(parquet)
    else:
        with gzip.open(unfinished, "wb") as packed:
            packed.writelines(write_line(line) for line in lines)
        unfinished.replace(plain)


def _write_parquet(path: Path, lines: Iterator[Line], names: Sequence[str]) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    columns = {name: f"metric {name}" if name in OWN else name for name in names}
    own = [("time", pa.float64()), ("step", pa.int64()), ("epoch", pa.int64())]
    schema = pa.schema([*own, *((column, pa.float64()) for column in columns.values())])
    with ParquetWriter(path, schema, compression="zstd") as writer:
        while batch := list(itertools.islice(lines, BATCH_ROWS)):
            values: list[list[Any]] = [
                [line.time for line in batch],
                [line.step for line in batch],
                [line.epoch for line in batch],
                *([line.metrics.get(name) for line in batch] for name in columns),
            ]
            arrays = [pa.array(column, type=field.type) for column, field in zip(values, schema, strict=True)]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


if __name__ == "__main__":
    main(sys.argv[1:])
