"""Delta Lake tables by version: a job gets what one held then, whatever was written, deleted or cleaned up since."""

import json
from pathlib import Path
from typing import Any

import deltalake
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from footplate.api.trainingjob import InputChannel
from footplate_trainer.data.table_folders import find_files
from footplate_trainer.errors import DataError, TrainerError
from footplate_trainer.preparation.reading import load
from footplate_trainer.storage.delta import versions_of
from footplate_trainer.storage.fetch import Fetched, fetch_inputs

COUNTRIES = ("de", "café au lait", "a=b/c")


def rows(first: int, count: int) -> pa.Table:
    numbers = range(first, first + count)
    return pa.table({"n": list(numbers), "country": [COUNTRIES[n % 3] for n in numbers]})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Versions: 0 has rows 0 to 5, 1 also 6 to 8, 2 is without row 1, 3 has rows 20 to 25 alone."""
    folder = tmp_path / "table"
    deltalake.write_deltalake(folder, rows(0, 6), partition_by=["country"])
    deltalake.write_deltalake(folder, rows(6, 3), mode="append")
    deltalake.DeltaTable(folder).delete("n = 1")
    deltalake.write_deltalake(folder, rows(20, 6), mode="overwrite")
    return folder


def fetch(table: Path, target: Path, **channel: Any) -> Fetched:
    return fetch_inputs([InputChannel(name="train", uri=f"file://{table}/", **channel)], target, endpoint=None)["train"]


def numbers_in(target: Path) -> list[int]:
    (target / "scratch").mkdir()
    return sorted(load({"train": target / "train"}, None, target / "scratch").table["n"].to_pylist())


@pytest.mark.parametrize(
    ("version", "held"),
    [(0, [*range(6)]), (1, [*range(9)]), (2, [0, *range(2, 9)]), (3, [*range(20, 26)]), (None, [*range(20, 26)])],
)
def test_a_version_is_what_the_table_held_then(
    table: Path, tmp_path: Path, version: int | None, held: list[int]
) -> None:
    fetched = fetch(table, tmp_path / "in", version=version)
    assert fetched.version == (3 if version is None else version)
    assert numbers_in(tmp_path / "in") == held
    # Users' own code finds it, too: for every reader the table's newest version is this one.
    mine = deltalake.DeltaTable(tmp_path / "in/train")
    assert mine.version() == fetched.version
    assert sorted(pa.table(mine.to_pyarrow_table())["n"].to_pylist()) == held


def test_other_versions_files_arent_fetched(table: Path, tmp_path: Path) -> None:
    fetch(table, tmp_path / "in", version=0)
    files = {path.name for path in (tmp_path / "in/train").rglob("*.parquet")}
    assert len(files) == 3 < len([*table.rglob("*.parquet")])
    said: list[str] = []
    assert {path.name for path in find_files(tmp_path / "in/train", channel="train", said=said)["train"]} == files
    assert said == ["input train: version 0 of a Delta table, 3 files"]


def test_what_happens_to_the_table_later_changes_nothing(table: Path, tmp_path: Path) -> None:
    first = fetch(table, tmp_path / "a", version=3)
    deltalake.DeltaTable(table).create_checkpoint()
    assert fetch(table, tmp_path / "b", version=3, sha256=first.sha256) == first, "its log is written otherwise"
    deltalake.write_deltalake(table, rows(40, 3), mode="append")
    deltalake.DeltaTable(table).create_checkpoint()
    for version in range(3):  # as a log's clean-up does, which needs them no more
        (table / f"_delta_log/{version:020d}.json").unlink()
    assert fetch(table, tmp_path / "c", version=3, sha256=first.sha256) == first
    assert numbers_in(tmp_path / "c") == [*range(20, 26)]
    assert fetch(table, tmp_path / "d").version == 4
    with pytest.raises(DataError, match="whose log has 3 to 4"):
        fetch(table, tmp_path / "e", version=2)


def test_a_version_that_isnt_there_is_named_with_those_that_are(table: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        fetch(table, tmp_path / "in", version=12)
    assert str(caught.value) == (
        "spec.inputs[train]: version: 12 isn't in the Delta Lake table, whose log has 0 to 3; name one of these, or "
        "leave version out for the newest"
    )


def test_a_version_whose_files_were_cleaned_up_says_so(table: Path, tmp_path: Path) -> None:
    deltalake.DeltaTable(table).vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    with pytest.raises(DataError, match=r"version: 0 of the Delta Lake table needs .*parquet.* as after VACUUM"):
        fetch(table, tmp_path / "in", version=0)
    assert fetch(table, tmp_path / "new", version=3).version == 3


def test_a_log_with_a_gap_is_refused(table: Path, tmp_path: Path) -> None:
    (table / "_delta_log/00000000000000000001.json").unlink()
    with pytest.raises(TrainerError, match=r"spec.inputs\[train\]: .*(can't be read|can't be put together)"):
        fetch(table, tmp_path / "in", version=2)


def test_a_version_of_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(rows(0, 3), tmp_path / "data/a.parquet")
    with pytest.raises(DataError, match=r"spec.inputs\[train\]: version: 0 is for a Delta Lake table"):
        fetch(tmp_path / "data", tmp_path / "in", version=0)
    assert fetch(tmp_path / "data", tmp_path / "other").version is None
    with pytest.raises(ValueError, match="version is for a Delta Lake table, which is a folder; let uri end in '/'"):
        InputChannel(name="train", uri="s3://b/table", version=1)


def test_a_feature_that_hides_rows_is_refused_for_a_version_too(table: Path, tmp_path: Path) -> None:
    log = table / "_delta_log/00000000000000000000.json"
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    for entry in entries:
        if "protocol" in entry:
            features = {"readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
            entry["protocol"] = {"minReaderVersion": 3, "minWriterVersion": 7, **features}
    log.write_text("\n".join(map(json.dumps, entries)))
    fetch(table, tmp_path / "in", version=1)
    with pytest.raises(DataError, match="uses deletionVectors"):
        find_files(tmp_path / "in/train", channel="train", said=[])


def test_which_versions_a_log_tells_of() -> None:
    names = ["00000000000000000010.checkpoint.parquet", "00000000000000000011.json", "_last_checkpoint",
             "00000000000000000012.checkpoint.80a083e8-7026.json", "00000000000000000013.crc",
             "00000000000000000004.00000000000000000009.compacted.json",
             "00000000000000000014.checkpoint.0000000001.0000000002.parquet"]  # fmt: skip
    assert versions_of(f"_delta_log/{name}" for name in names) == [10, 11, 12, 14]
    assert versions_of(["a/_delta_log/00000000000000000010.json", "a.parquet"]) == []
