"""What a run's data are is read from beside it, within bounds."""

import json
from pathlib import Path

import pytest

from client_site import Site
from footplate.client import Client, NothingThere, StorageUnreadable, data
from footplate.client.data import of_records
from footplate.client.stored import Records
from footplate_trainer.preparation.report import Example, Violation
from footplate_trainer.storage.store import Store
from result_files import dumped, prepared, profile

PROBLEM = Violation(column="age", rule="minimum: 0", count=12, examples=[Example(file="a.csv", row=7, value="-1")])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(f"file://{tmp_path}/run")


def put(store: Store, **documents: bytes) -> Records:
    for name, text in documents.items():
        store.put(f"data/{name}.json", text)
    return Records(store)


def test_parts_hints_and_notes_without_a_profile(store: Store) -> None:
    assert of_records(Records(store)) is None
    found = of_records(put(store, prepared=dumped(prepared(hints=["a hint"], notes=["a note"]))))
    assert found is not None
    assert (found.rows, found.splits) == (100, {"train": 70, "validation": 20, "test": 10})
    assert (found.hints, found.notes, found.problems, found.profile) == (["a hint"], ["a note"], (), None)


def test_a_profile_says_the_rest(store: Store) -> None:
    found = of_records(put(store, prepared=dumped(prepared()), profile=dumped(profile())))
    assert found is not None
    assert found.profile is not None
    assert [column.name for column in found.profile.columns] == ["alcohol", "sugar", "grower"]
    assert found.hints == ["sugar alone tells grower of 99.9% of the rows"]


def test_broken_checks_with_a_profile_and_without(store: Store) -> None:
    problems = json.dumps([PROBLEM.model_dump(by_alias=True)]).encode()
    found = of_records(put(store, problems=problems))
    assert found is not None
    assert (found.rows, found.splits, found.problems) == (None, {}, [PROBLEM])
    found = of_records(put(store, profile=dumped(profile())))
    assert found is not None
    assert (found.rows, found.problems) == (100, [PROBLEM])


def test_what_was_prepared_in_the_end_has_no_problems(store: Store) -> None:
    problems = json.dumps([PROBLEM.model_dump(by_alias=True)]).encode()
    found = of_records(put(store, problems=problems, prepared=dumped(prepared())))
    assert found is not None
    assert found.problems == ()


@pytest.mark.parametrize(
    "text", [b"{}", b"\xff", b"[" * 100_000, dumped(profile()).replace(b"3.25", b"NaN"), b'{"rows": 1e400}']
)
def test_what_is_none_of_ours_is_said_to_be_none(store: Store, text: bytes) -> None:
    with pytest.raises(StorageUnreadable, match=r"data/profile\.json isn't one that Footplate wrote"):
        of_records(put(store, profile=text))


def test_what_is_too_large_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MAX_BYTES", 1_000)
    with pytest.raises(StorageUnreadable, match=r"profile\.json has 2,000 bytes, and at most 1,000 are read here"):
        of_records(put(store, profile=b" " * 2_000))


def test_data_that_are_not_prepared_yet(
    site: Site, client: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "open_records", lambda *_: Records(store))
    inputs = [{"name": "train", "uri": "s3://data/"}]
    site.create("early", inputs=inputs, data={"profile": True}, output={"uri": "s3://models/"})
    with pytest.raises(NothingThere, match="of TrainingJob 'early' aren't prepared yet"):
        client.get("early").data()


def test_a_job_reads_them_with_its_own_storage(site: Site, client: Client) -> None:
    site.create("plain")
    with pytest.raises(NothingThere, match=r"has no spec\.data"):
        client.get("plain").data()
    inputs = [{"name": "train", "uri": "file:///data/"}]
    site.create("checked", inputs=inputs, data={"profile": True}, output={"uri": "file:///models/"})
    with pytest.raises(StorageUnreadable, match="lies in a volume of the job's pods"):
        client.get("checked").data()
