"""examples/checked-data passes its checks, and is told what docs/troubleshooting.md says once its data are broken."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from footplate.api.trainingjob import TrainingJob
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.preparing import prepare
from footplate_trainer.preparation.report import Prepared

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples/checked-data"
TOLD = " ".join((ROOT / "docs/troubleshooting.md").read_text().split())


def out_of_range(rows: list[str]) -> None:
    rows[17] = "1" + rows[17]


def misspelt(rows: list[str]) -> None:
    rows[3] = rows[3].replace("class_0", "Class 0")
    rows[9] = rows[9].replace("class_0", "Class 0")


def cut(rows: list[str]) -> None:
    del rows[121:]


def run(folder: Path, change: Callable[[list[str]], None] = lambda rows: None) -> Prepared:
    runpy.run_path(str(EXAMPLE / "make_data.py"))["main"](folder / "train")
    path = folder / "train/wine.csv"
    rows = path.read_text().splitlines()
    change(rows)
    path.write_text("\n".join(rows) + "\n")
    job = TrainingJob.model_validate(yaml.safe_load((EXAMPLE / "job.yaml").read_text()))
    assert job.spec.data is not None
    inputs = {"train": folder / "train"}
    return prepare(job.spec.data, inputs, folder / "out", digests={}, label="grower", title="wine")


def test_it_is_divided_70_20_10(tmp_path: Path) -> None:
    assert run(tmp_path).splits == {"train": 125, "validation": 35, "test": 18}


@pytest.mark.parametrize("change", [out_of_range, misspelt, cut], ids=lambda change: change.__name__)
def test_what_is_broken_is_told_as_the_page_says(change: Callable[[list[str]], None], tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        run(tmp_path, change)
    said = str(caught.value).partition(". problems.json")[0]
    assert f"`{said}`" in TOLD, said
