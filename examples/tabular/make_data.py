"""Writes scikit-learn's wine data (178 wines, 13 measurements, 3 growers) as CSV files: 80 % train, 20 % test.

    python make_data.py FOLDER

FOLDER/train/wine.csv and FOLDER/test/wine.csv belong into two prefixes of a bucket, one for each input of the job.
"""

import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import csv
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    wine = load_wine()
    growers = wine.target_names[wine.target]
    parts = train_test_split(wine.data, growers, test_size=0.2, stratify=growers, random_state=0)
    for split, rows, split_growers in (("train", parts[0], parts[2]), ("test", parts[1], parts[3])):
        (folder / split).mkdir(parents=True, exist_ok=True)
        columns = {name: rows[:, place] for place, name in enumerate(wine.feature_names)}
        csv.write_csv(pa.table({**columns, "grower": split_growers}), folder / split / "wine.csv")
        print(f"{split}: {len(split_growers)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
