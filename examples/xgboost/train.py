"""Learns from a table which of three growers made a wine, with XGBoost and its own checkpoints.

No import of Footplate's: hyperparameters come as arguments, folders from the environment.
"""

import argparse
import csv
import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import xgboost as xgb

TARGET = "grower"


def read(folder: Path) -> tuple[np.ndarray, list[str], list[str]]:
    """Features, their names, and who made each wine."""
    with (folder / "wine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != TARGET]
    return np.array([[float(row[name]) for name in names] for row in rows]), names, [row[TARGET] for row in rows]


def newest(folder: Path) -> Path | None:
    """The checkpoint with the most rounds: TrainingCheckPoint has written `wine_<rounds>.ubj`."""
    return max(folder.glob("wine_*.ubj"), key=lambda path: int(path.stem.rpartition("_")[2]), default=None)


def main() -> None:
    # When the job is suspended, a checkpoint that is being written is finished first: signals come between calls of C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--max-depth", type=int, default=3)
    options = parser.parse_args()

    data = Path(os.environ["FOOTPLATE_INPUT_DIR"])
    features, names, growers = read(data / "train")
    test_features, _, test_growers = read(data / "test")
    classes = sorted(set(growers))
    train = xgb.DMatrix(features, label=[classes.index(grower) for grower in growers], feature_names=names)
    test = xgb.DMatrix(test_features, label=[classes.index(grower) for grower in test_growers], feature_names=names)

    checkpoints = Path(os.environ["FOOTPLATE_CHECKPOINT_DIR"])
    begun = newest(checkpoints)
    done = xgb.Booster(model_file=begun).num_boosted_rounds() if begun else 0
    print(f"begins after round {done}", flush=True)
    model = xgb.train(
        {"objective": "multi:softprob", "num_class": len(classes), "eta": options.eta, "max_depth": options.max_depth},
        train,
        num_boost_round=options.rounds - done,
        evals=[(train, "train"), (test, "test")],
        xgb_model=begun,
        callbacks=[xgb.callback.TrainingCheckPoint(checkpoints, name="wine", interval=10)],
    )

    accuracy = float((model.predict(test).argmax(axis=1) == test.get_label()).mean())
    print(f"test accuracy {accuracy:.3f}", flush=True)
    output = Path(os.environ["FOOTPLATE_OUTPUT_DIR"])
    model.save_model(output / "wine.ubj")
    said = {"classes": classes, "testAccuracy": accuracy, "gain": model.get_score(importance_type="gain")}
    (output / "wine.json").write_text(json.dumps(said, indent=1))


if __name__ == "__main__":
    main()
