"""Writes scikit-learn's diabetes data (442 patients, 10 measurements, the progression after a year) as CSV files: 80 %
train, 20 % test.

    python make_data.py FOLDER

FOLDER/train/patients.csv and FOLDER/test/patients.csv belong into two prefixes of a bucket, one for each input of the
job.
"""

import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import csv
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    patients = load_diabetes(scaled=False)
    parts = train_test_split(patients.data, patients.target, test_size=0.2, random_state=0)
    for split, rows, progression in (("train", parts[0], parts[2]), ("test", parts[1], parts[3])):
        (folder / split).mkdir(parents=True, exist_ok=True)
        columns = {name: rows[:, place] for place, name in enumerate(patients.feature_names)}
        csv.write_csv(pa.table({**columns, "progression": progression}), folder / split / "patients.csv")
        print(f"{split}: {len(progression)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
