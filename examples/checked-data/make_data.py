"""Writes scikit-learn's wine data (178 wines, 13 measurements, 3 growers) as one CSV file, which the job divides.

    python make_data.py FOLDER

What is in FOLDER belongs into the prefix of a bucket that the job's input names.
"""

import sys
from pathlib import Path

import pyarrow as pa
from pyarrow import csv
from sklearn.datasets import load_wine


def main(folder: Path) -> None:
    wine = load_wine()
    columns = {name: wine.data[:, place] for place, name in enumerate(wine.feature_names)}
    folder.mkdir(parents=True, exist_ok=True)
    csv.write_csv(pa.table({**columns, "grower": wine.target_names[wine.target]}), folder / "wine.csv")
    print(f"{len(wine.target)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
