"""Prepares data: reads, divides, checks and describes them, and writes the outcome as `layout` says."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from footplate.api.data import SPLITS, Data
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.cells import FewValues, few_values
from footplate_trainer.preparation.checking import check, words
from footplate_trainer.preparation.hashing import count_doubles, row_hashes
from footplate_trainer.preparation.layout import FILES, PAGE, PARTS, PREPARED, PROBLEMS, PROFILE, encode, record
from footplate_trainer.preparation.learning import CLASS, Wanted, check_learnable
from footplate_trainer.preparation.measuring import Column, most_frequent
from footplate_trainer.preparation.page import render
from footplate_trainer.preparation.profiling import make_profile
from footplate_trainer.preparation.reading import Loaded, load
from footplate_trainer.preparation.records import are_lines, write_lines
from footplate_trainer.preparation.report import Prepared, Violation
from footplate_trainer.preparation.splitting import divide

BATCH_ROWS = 65_536
MOST_TOLD = 3
"""Hints, and notes, that are told to the job; the profile has all."""
Codes = NDArray[np.uint8]
FewOf = Callable[[str], FewValues | None]


def prepare(
    data: Data,
    inputs: Mapping[str, Path],
    folder: Path,
    *,
    digests: Mapping[str, str],
    label: str | None,
    wanted: Wanted | None = None,
    title: str,
) -> Prepared:
    """Does all of it, and writes it into a folder.

    Args:
        data: what is asked for.
        inputs: the folder of each channel.
        folder: where the outcome goes.
        digests: SHA-256 of each channel.
        label: the column that is to be predicted, where it is known.
        wanted: what a recipe is to learn from them, where one is.
        title: of the page.

    Raises:
        DataError: they can't be read or divided, break a check, or aren't what the recipe can learn from.
        ConfigError: it can't be told which channel holds them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = load(inputs, data.split, folder)
    few = cache(lambda name: few_values(loaded.table.column(name)))
    same = loaded.table.select(list(loaded.same)) if loaded.same else loaded.table
    hashes = cache(lambda: row_hashes(same, few))
    broken = _check(data, loaded, hashes)
    codes = _divide(data, loaded, lenient=bool(broken))
    label = CLASS if loaded.paths is not None else label or _label(data)
    hints: list[str] = []
    if data.profile or broken:
        profile = make_profile(
            loaded.table, codes, few=few, hashes=hashes(), label=label, unreadable=loaded.unreadable, notes=loaded.notes
        )
        hints = [hint.text[:512] for hint in profile.hints]
        (folder / PROFILE).write_text(profile.model_dump_json(by_alias=True, exclude_none=True, indent=1))
        (folder / PAGE).write_text(render(profile, broken, title=title), encoding="utf-8", errors="backslashreplace")
    if broken:
        problems = [each.model_dump(mode="json", by_alias=True) for each in broken]
        (folder / PROBLEMS).write_text(json.dumps(problems, indent=1))
        for each in broken:
            print(each, flush=True)  # noqa: T201 (into the pod's log)
        raise DataError(words(broken, where=f". {PROBLEMS} and the log have all of them"))
    if wanted is not None:
        check_learnable(wanted, loaded, codes, data.split)
    if data.split is not None:
        _check_train(codes)
        as_lines = wanted is not None and wanted.texts and loaded.paths is None and are_lines(loaded.files)
        _write_parts(loaded, codes, folder, as_lines=as_lines)
    (folder / "rows.arrow").unlink(missing_ok=True)
    counts = np.bincount(codes, minlength=len(SPLITS))
    prepared = Prepared(
        inputs=dict(digests),
        rows=loaded.table.num_rows,
        splits={name: int(counts[part]) for part, name in enumerate(SPLITS) if counts[part]},
        files=record(folder),
        **_classes(loaded, codes, few, label),
        hints=hints[:MOST_TOLD],
        notes=[note[:512] for note in (*loaded.notes, *loaded.unreadable)][:MOST_TOLD],
    )
    (folder / PREPARED).write_bytes(encode(prepared))
    return prepared


def _label(data: Data) -> str | None:
    return data.split.column if data.split is not None and data.split.by == "stratified" else None


def _classes(loaded: Loaded, codes: Codes, few: FewOf, label: str | None) -> Mapping[str, Any]:
    """What is known of the label, in the words of `Prepared`."""
    if label is None or label not in loaded.table.schema.names:
        return {}
    column = Column(label, loaded.table.column(label), codes, few(label))
    if column.counted is None or column.counts is None:
        return {}
    return {
        "class_count": column.distinct,
        "classes": most_frequent(column.counted[0], column.counts.sum(axis=0)[1:]),
    }


def _check(data: Data, loaded: Loaded, hashes: Callable[[], NDArray[np.uint64]]) -> list[Violation]:
    if data.checks is None:
        return []
    nowhere = np.zeros(loaded.table.num_rows, np.uint8)
    return check(loaded.table, data.checks, loaded.locate, lambda: count_doubles(hashes(), nowhere)[0])


def _divide(data: Data, loaded: Loaded, *, lenient: bool) -> Codes:
    """The part of each row. Where checks are broken, which is told first, it needn't be known."""
    rows, split = loaded.table.num_rows, data.split
    as_named = loaded.parts if loaded.parts is not None else np.zeros(rows, np.uint8)
    if split is None or (split.by == "given" and split.column is None):
        return as_named
    try:
        return divide(split, rows, _column(loaded, split.column), loaded.place)
    except DataError:
        if lenient:
            return as_named
        raise


def _check_train(codes: Codes) -> None:
    if not (codes == 0).any():
        named = ", ".join(SPLITS[part] for part in np.unique(codes))
        raise DataError(f"data.split: by: given finds rows of {named}, but none of train; name some so")


def _column(loaded: Loaded, name: str | None) -> pa.ChunkedArray | None:
    if name is None:
        return None
    if name not in loaded.table.schema.names:
        names = ", ".join(map(repr, loaded.table.schema.names[:20]))
        raise DataError(f"data.split.column: there is no column {name!r}; the data have {names}")
    return loaded.table.column(name)


def _write_parts(loaded: Loaded, codes: Codes, folder: Path, *, as_lines: bool) -> None:
    if as_lines:
        write_lines(loaded.files, codes, folder / PARTS)
        return
    if loaded.paths is None:
        _write_rows(loaded.table, codes, folder / PARTS)
        return
    rows = loaded.table.select(["file", "class"]).to_pylist()
    with (folder / FILES).open("w", encoding="utf-8") as file:
        file.writelines(
            json.dumps({**row, "split": SPLITS[part]}) + "\n" for row, part in zip(rows, codes.tolist(), strict=True)
        )


def _write_rows(table: pa.Table, codes: Codes, folder: Path) -> None:
    """Batch by batch, so that no part needs to fit into memory."""
    writers = {}
    for part in np.unique(codes).tolist():
        (folder / SPLITS[part]).mkdir(parents=True, exist_ok=True)
        try:
            writers[part] = pq.ParquetWriter(folder / SPLITS[part] / "data.parquet", table.schema)
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"data.split: the parts are Parquet files, which can't hold such data: {error}") from None
    try:
        start = 0
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            here = codes[start : start + batch.num_rows]
            for part, writer in writers.items():
                writer.write_batch(batch.filter(pa.array(here == part)))
            start += batch.num_rows
    finally:
        for writer in writers.values():
            writer.close()
