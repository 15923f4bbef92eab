"""Folders that Hugging Face's datasets itself has written, as inputs: shards, splits, classes, and what lies beside."""

import subprocess
from pathlib import Path

import pytest

from footplate.api.data import SPLITS, Split
from footplate_trainer.data.images import read_splits as read_images
from footplate_trainer.errors import DataError
from footplate_trainer.preparation.reading import load

VENV = "datasets"
pytestmark = pytest.mark.frameworks

WRITE = """
import sys
from pathlib import Path
from PIL import Image as Picture
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value, load_from_disk

root = Path(sys.argv[1])
features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"]), "n": Value("int32")})

def make(first, count):
    numbers = list(range(first, first + count))
    rows = {"text": [f"text {n}" for n in numbers], "label": [n % 2 for n in numbers], "n": numbers}
    return Dataset.from_dict(rows, features=features)

make(0, 20).save_to_disk(root / "one", num_shards=3)
load_from_disk(root / "one").map(lambda row: {"n": row["n"] + 1000})  # leaves a cache beside the data
splits = DatasetDict(train=make(0, 6), validation=make(6, 2), test=make(8, 3), unsupervised=make(11, 4))
splits.save_to_disk(root / "dict")
make(0, 20).shuffle(seed=1).filter(lambda row: row["n"] > 3).save_to_disk(root / "chosen")
(root / "hub/data").mkdir(parents=True)
for name, first in (("train-00000-of-00002", 0), ("train-00001-of-00002", 3), ("test-00000-of-00001", 6)):
    make(first, 3).to_parquet(root / f"hub/data/{name}.parquet")
pictures = {"image": [Picture.new("RGB", (8, 8))] * 4, "label": [0, 1, 0, 1]}
kinds = Features({"image": Image(), "label": ClassLabel(names=["cat", "dog"])})
Dataset.from_dict(pictures, features=kinds).save_to_disk(root / "pictures")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, python: str) -> Path:
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([python, "-c", WRITE, folder], check=True, timeout=300)
    return folder


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("one", {"train": range(20)}),
        ("dict", {"train": range(6), "validation": range(6, 8), "test": range(8, 11)}),
        ("chosen", {"train": range(4, 20)}),
        ("hub", {"train": range(6), "test": range(6, 9)}),
    ],
)
def test_rows_splits_and_classes(written: Path, tmp_path: Path, name: str, parts: dict[str, range]) -> None:
    loaded = load({"train": written / name}, Split(by="given"), tmp_path)
    numbers = loaded.table["n"].to_pylist()
    assert loaded.table["text"].to_pylist() == [f"text {n}" for n in numbers]
    assert loaded.table["label"].to_pylist() == [["bad", "good"][n % 2] for n in numbers]
    codes = [0] * len(numbers) if loaded.parts is None else loaded.parts.tolist()
    found = {
        split: sorted(n for n, code in zip(numbers, codes, strict=True) if SPLITS[code] == split) for split in SPLITS
    }
    assert {split: held for split, held in found.items() if held} == {split: [*held] for split, held in parts.items()}


def test_a_cache_lies_beside_the_data(written: Path) -> None:
    """What the test of rows is about: without it that one couldn't fail."""
    assert list((written / "one").glob("cache-*.arrow"))


def test_pictures_in_tables_are_refused(written: Path) -> None:
    with pytest.raises(DataError, match="holds its pictures in tables"):
        read_images(
            {"train": written / "pictures"}, image_size=8, class_names=None, validation_fraction=0, test_fraction=0,
            seed=0, note=str,
        )  # fmt: skip
