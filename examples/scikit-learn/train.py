"""Searches the best of several models for a table, with scikit-learn's cross-validation on all of the pod's cores.

No import of Footplate's: this script finds its folders in the environment.
"""

import csv
import json
import os
from pathlib import Path

import joblib
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

TARGET = "grower"


def read(folder: Path) -> tuple[list[list[float]], list[str]]:
    """Features, and who made each wine."""
    with (folder / "wine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [[float(row[name]) for name in row if name != TARGET] for row in rows], [row[TARGET] for row in rows]


def main() -> None:
    data = Path(os.environ["FOOTPLATE_INPUT_DIR"])
    features, growers = read(data / "train")
    model = make_pipeline(StandardScaler(), SVC())
    choices = [
        {"svc": [SVC(kernel="rbf")], "svc__C": [0.1, 1, 10], "svc__gamma": ["scale", 0.01]},
        {"svc": [LogisticRegression(max_iter=1000)], "svc__C": [0.01, 0.1, 1, 10]},
    ]
    cores = int(os.environ["SM_NUM_CPUS"])  # the pod's, where os.cpu_count() is the machine's
    search = GridSearchCV(model, choices, cv=5, n_jobs=cores, verbose=1).fit(features, growers)
    print(f"best {search.best_params_}", flush=True)

    accuracy = search.score(*read(data / "test"))
    print(f"test accuracy {accuracy:.3f}", flush=True)
    output = Path(os.environ["FOOTPLATE_OUTPUT_DIR"])
    joblib.dump(search.best_estimator_, output / "wine.joblib")
    said = {"best": str(search.best_params_), "crossValidation": search.best_score_, "testAccuracy": accuracy}
    (output / "wine.json").write_text(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
