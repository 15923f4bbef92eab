"""The table of a run's metrics that lies beside its model."""

import gzip
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from footplate import records
from footplate.records import Line, write_line
from footplate_trainer.supervisor.history import table


def lines(*steps: int, time: float = 0.0, **metrics: float) -> bytes:
    return b"".join(write_line(Line(time + step, step, None, metrics or {"loss": 1.0 / step})) for step in steps)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """What two earlier attempts have left: one its parts, of which the last is cut; the other the whole."""
    folder = tmp_path / "records" / records.METRICS
    folder.mkdir(parents=True)
    name = records.metrics(0)
    (folder / records.part(name, 0)).write_bytes(gzip.compress(lines(1, 2)))
    (folder / records.part(name, 1)).write_bytes(gzip.compress(lines(3, 4))[:-12])
    (folder / records.whole(records.metrics(1))).write_bytes(gzip.compress(lines(2, 3, time=100.0)))
    (folder / records.whole(records.metrics(7))).write_bytes(gzip.compress(lines(9)))
    return tmp_path / "records"


def make(tmp_path: Path, attempt: int, text: bytes, *storage: str) -> Path:
    local, folder = tmp_path / "local", tmp_path / "table"
    local.mkdir()
    folder.mkdir()
    (local / "000000").write_bytes(text)
    table.main([str(folder), str(attempt), str(local), *storage])
    return folder


def test_all_attempts_are_in_it_and_undone_steps_are_not(tmp_path: Path, stored: Path) -> None:
    text = lines(3, 4, time=200.0) + write_line(Line(204.5, 4, 1, {"accuracy": 0.5, "time": 9.0})) + b'{"time": 5, "st'
    folder = make(tmp_path, 2, text, f"file://{stored}")
    rows: dict[str, list[Any]] = parquet.read_table(folder / "metrics.parquet").to_pydict()
    assert list(rows) == ["time", "step", "epoch", "loss", "accuracy", "metric time"]
    assert rows["step"] == [1, 2, 3, 4, 4]
    assert rows["time"] == [1.0, 102.0, 203.0, 204.0, 204.5]
    assert rows["loss"] == [1.0, 0.5, 1 / 3, 0.25, None]
    assert (rows["accuracy"][-1], rows["metric time"][-1], rows["epoch"][-1]) == (0.5, 9.0, 1)
    assert [path.name for path in folder.iterdir()] == ["metrics.parquet"]


def test_without_pyarrow_it_is_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    folder = make(tmp_path, 0, lines(1, 2))
    assert gzip.decompress((folder / "metrics.jsonl.gz").read_bytes()) == lines(1, 2)


def test_it_is_bounded_in_rows_and_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 10)
    monkeypatch.setattr(table, "MAX_COLUMNS", 3)
    monkeypatch.setattr(table, "BATCH_ROWS", 4)
    folder = make(tmp_path, 0, lines(*range(1, 32), **{f"metric {n}": float(n) for n in range(20)}))
    found = parquet.read_table(folder / "metrics.parquet")
    assert found["step"].to_pylist() == [*range(4, 32, 4), 31]
    assert found.column_names[3:] == ["metric 0", "metric 1", "metric 2"]


def test_of_many_lines_no_metric_that_is_seldom_reported_and_no_last_one_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "MAX_ROWS", 10)
    text = lines(*range(1, 15)) + lines(15, valLoss=0.5) + lines(*range(16, 30)) + lines(30, testLoss=0.25)
    found = parquet.read_table(make(tmp_path, 0, text) / "metrics.parquet").to_pydict()
    assert [(step, value) for step, value in zip(found["step"], found["valLoss"], strict=True) if value] == [(15, 0.5)]
    assert (found["step"][-1], found["testLoss"][-1]) == (30, 0.25)


def test_of_nothing_there_is_no_table(tmp_path: Path) -> None:
    assert list(make(tmp_path, 0, b"no line\n").iterdir()) == []
