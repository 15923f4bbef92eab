"""What the job's status says of its data: short, whatever the data's words are."""

import json
from pathlib import Path

from footplate.api.data import Data
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.summary import digest_of, of_broken, of_prepared
from footplate_trainer.storage.fetch import listing_digest


def rows(folder: Path, labels: list[str]) -> dict[str, Path]:
    folder.mkdir()
    lines = [json.dumps({"age": age, "label": label}) for age, label in enumerate(labels)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    return {"train": folder}


def test_of_many_classes_the_most_frequent_are_told_and_long_names_cut(tmp_path: Path) -> None:
    labels = ["x" * 90] * 3 + [f"class-{number}" for number in range(10)]
    asked = Data.model_validate({"split": {"train": 0.5, "test": 0.5}})
    found = prepare(
        asked, rows(tmp_path / "in", labels), tmp_path, digests={"train": "a" * 64}, label="label", title="t"
    )
    told = of_prepared(found, profile=None)
    assert (told.rows, told.class_count, len(told.classes)) == (13, 11, 8)
    assert (told.classes[0].name, told.classes[0].rows) == ("x" * 62 + "…", 3)
    assert sum(part.rows for part in told.splits) == 13
    assert (told.digest, told.profile, told.problems) == ("a" * 64, None, 0)


def test_fractions_are_no_classes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("label\n0.5\n1.5\n")
    found = prepare(
        Data(profile=True), {"train": folder}, tmp_path, digests={"train": "a" * 64}, label="label", title="t"
    )
    told = of_prepared(found, profile=None)
    assert (told.class_count, told.classes) == (None, [])


def test_of_many_broken_rules_the_first_are_told_and_all_counted(tmp_path: Path) -> None:
    constraints = {"required": True, "enum": ["q" * 200], "minLength": 5, "pattern": "q+"}
    asked = {"checks": {"minRows": 99, "columns": [{"name": "label", "constraints": constraints}]}}
    inputs = rows(tmp_path / "in", ["a", "b", "b"])
    try:
        prepare(Data.model_validate(asked), inputs, tmp_path, digests={}, label="label", title="t")
        raise AssertionError("checks are broken")
    except DataError:
        told = of_broken(tmp_path, {"train": "a" * 64}, profile="file:///p.html")
    assert told is not None
    assert (told.rows, told.class_count, told.problems) == (3, 2, 4)
    assert [(each.column, each.count) for each in told.broken] == [(None, 1), ("label", 3), ("label", 3)]
    assert told.broken[0].rule == "minRows: 99 (3 rows are there)"
    assert of_broken(tmp_path / "in", {}, profile=None) is None, "nothing is broken there"


def test_one_digest_stands_for_all_inputs() -> None:
    assert digest_of({"train": "a" * 64}) == "a" * 64
    both = {"train": "a" * 64, "test": "b" * 64}
    assert digest_of(both) == listing_digest(both) == digest_of(dict(reversed(both.items())))
