"""examples/sentiment/compare.py: the model's values are those of its evaluation, on the very tweets compared on."""

import json
import subprocess
import sys
from pathlib import Path

COMPARE = Path(__file__).parents[2] / "examples/sentiment/compare.py"


def compare(folder: Path, *, samples: int) -> subprocess.CompletedProcess[str]:
    rows = "text,label\n" + "".join(f"good day {n},positive\nbad night {n},negative\n" for n in range(4))
    for split in ("train", "test"):
        (folder / split).mkdir()
        (folder / split / "tweets.csv").write_text(rows)
    values = {"accuracy": 0.8125, "f1Macro": 0.75}
    (folder / "evaluation.json").write_text(json.dumps({"data": {"test": {"samples": samples, "values": values}}}))
    return subprocess.run([sys.executable, COMPARE, folder, folder], capture_output=True, text=True)


def test_the_model_stands_beside_the_baseline(tmp_path: Path) -> None:
    shown = compare(tmp_path, samples=8)
    lines = [line.split() for line in shown.stdout.strip().splitlines()]
    assert lines[0][:1] == ["8"], shown.stderr
    assert lines[1] == ["this", "model", "0.812", "0.750"]
    assert lines[2][-2:] == ["1.000", "1.000"]
    assert lines[3][:2] == ["always", "positive"] or lines[3][:2] == ["always", "negative"]


def test_an_evaluation_of_other_tweets_is_refused(tmp_path: Path) -> None:
    assert "was evaluated on 7 tweets, and" in compare(tmp_path, samples=7).stderr
