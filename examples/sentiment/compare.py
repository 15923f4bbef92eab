"""Prints how well the job's model tells the test tweets apart, as its evaluation.json says, beside TF-IDF with logistic
regression.

    python compare.py DATA MODEL

DATA: the folder of make_data.py; MODEL: that of the downloaded artifact.
"""

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score
from sklearn.pipeline import make_pipeline


def main(data: Path, model: Path) -> None:
    texts, labels = read(data / "train")
    test_texts, test_labels = read(data / "test")
    baseline = make_pipeline(TfidfVectorizer(), LogisticRegression(C=3, max_iter=1000))
    baseline.fit(texts, labels)
    most = max(set(labels), key=labels.count)
    found = json.loads((model / "evaluation.json").read_text())["data"]["test"]
    if found["samples"] != len(test_labels):
        sys.exit(f"{model} was evaluated on {found['samples']:,} tweets, and {data} has {len(test_labels):,} to test")
    rows = [("this model", found["values"]["accuracy"], found["values"]["f1Macro"])]
    for name, predicted in (
        ("TF-IDF + logistic regression", baseline.predict(test_texts)),
        (f"always {most}", [most] * len(test_labels)),
    ):
        rows.append((name, accuracy_score(test_labels, predicted), f1_score(test_labels, predicted, average="macro")))
    print(f"\n{len(test_labels):,} tweets of the test data    accuracy  macro F1")
    for name, accuracy, f1 in rows:
        print(f"{name:32}  {accuracy:8.3f}  {f1:8.3f}")


def read(folder: Path) -> tuple[list[str], Sequence[str]]:
    with (folder / "tweets.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["label"] for row in rows]


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
