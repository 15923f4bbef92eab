"""Data sets larger than what may be held of them: no rank holds them, and all ranks and workers read the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from PIL import Image

from footplate.contract import ExitCode
from rank_processes import Job

pytestmark = pytest.mark.integration

SIDE, PICTURES = 512, 200
COLUMNS, LETTERS, PART_ROWS = 12, 120, 20_000
ROW_BYTES = COLUMNS * 8 + LETTERS
SHARE = 0.6
"""Of the data that are added, what a process may hold at most: a few numbers a sample, and what its allocators keep."""


def read(root: Path, folder: Path, *, ranks: int = 1, **settings: Any) -> list[dict[str, Any]]:
    job = Job(root, "read_data.py", ranks, {"folder": str(folder), "workers": 0, **settings})
    with job.start(0) as gang:
        gang.wait_until(gang.ended, seconds=300)
        assert gang.wait() == [ExitCode.OK] * ranks, gang.logs()
    return [json.loads((job.output / f"read-{rank}.json").read_text()) for rank in range(ranks)]


def test_pictures_are_not_held(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    for number in range(PICTURES):
        path = folder / f"class-{number % 2}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (16, 16, 3), np.uint8)).save(path)
    (alone,) = read(tmp_path / "1", folder, side=SIDE, batch=8)
    two = read(tmp_path / "2", folder, ranks=2, side=SIDE, batch=16)
    (helped,) = read(tmp_path / "3", folder, side=SIDE, batch=8, workers=2)
    assert max(rank["peak"] for rank in (alone, *two)) < SHARE * PICTURES * 3 * SIDE**2
    assert {rank["digest"] for rank in (alone, helped, *two)} == {alone["digest"]}


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_tables_are_not_held(kind: str, tmp_path: Path) -> None:
    """Numbers, and texts of which each row has its own."""
    small, large = (write_table(tmp_path / str(parts), parts, kind) for parts in (10, 40))
    (some,) = read(tmp_path / "some", small, batch=1000)
    (more,) = read(tmp_path / "more", large, batch=1000)
    assert more["peak"] - some["peak"] < SHARE * 30 * PART_ROWS * ROW_BYTES
    two = read(tmp_path / "two", small, ranks=2, batch=1000)
    assert {rank["digest"] for rank in two} == {some["digest"]}


def write_table(folder: Path, parts: int, kind: str) -> Path:
    """One file of so many parts."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    schema = pa.schema(
        [*((f"c{number}", pa.float64()) for number in range(COLUMNS)), ("t", pa.string()), ("y", pa.string())]
    )
    writers = {"parquet": pa.parquet.ParquetWriter, "csv": pa.csv.CSVWriter}
    with writers[kind](folder / f"rows.{kind}", schema) as writer:
        for part in range(parts):
            columns = [pa.array(chance.normal(5, 2, PART_ROWS).round(4)) for _ in range(COLUMNS)]
            texts = pa.array([f"{part} {row}".ljust(LETTERS, ".") for row in range(PART_ROWS)])
            writer.write_table(pa.table([*columns, texts, pa.array(["a", "b"] * (PART_ROWS // 2))], schema=schema))
    return folder
