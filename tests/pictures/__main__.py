"""Makes the pictures of README and docs, of jobs that really run: `make pictures`, two minutes on a quiet machine.

Two runs of the digits example train in an embedded cluster; a pod of the first is killed in the middle.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from laptop import EXAMPLES, ROOT, Laptop, make_data
from pictures import page, terminal

FOLDER = ROOT / "docs" / "pictures"
PICTURES = (page.take, terminal.take)
"""Each takes the laptop and the folder for what it makes."""
KILLED_AT = 150
"""The step from which on a pod may be killed."""
PATIENCE_SECONDS = 300.0


def main() -> None:
    """Makes all of them; the folder is for those who only want to look."""
    parser = argparse.ArgumentParser(prog="make pictures", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        data = make_data("digits", Path(home) / "data")
        with Laptop(Path(home), options=[f"--data={data}=s3://datasets/digits/"]) as laptop:
            run_jobs(laptop)
            for take in PICTURES:
                take(laptop, folder)


def run_jobs(laptop: Laptop) -> None:
    """One job that is disturbed, one that has learned faster, and some that don't run."""
    digits = example()
    laptop.apply(digits)
    laptop.apply(variant("digits-gpu", resources={"limits": {"nvidia.com/gpu": 8}}))
    laptop.apply(variant("digits-later", runPolicy={"suspend": True}))
    broken = {**digits["spec"]["trainer"], "hyperparameters": {"epochs": 30, "batchSize": 64, "learningRate": 10_000}}
    laptop.apply(variant("digits-broken", trainer=broken, runPolicy={"maxRestarts": 0}))
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (((laptop.get("tj", "digits").get("status") or {}).get("progress") or {}).get("step") or 0) < KILLED_AT:
        assert time.monotonic() < deadline, "digits doesn't get far"
        time.sleep(0.5)
    laptop.kubectl(
        "delete", "pod", "-l", "footplate.dev/job=digits,footplate.dev/rank=1", "--grace-period=0", "--force"
    )
    laptop.wait("digits")
    quick = {**digits["spec"]["trainer"], "hyperparameters": {"epochs": 30, "batchSize": 128, "learningRate": 0.006}}
    laptop.apply(variant("digits-large-batch", trainer=quick))
    laptop.wait("digits-large-batch")


def example() -> dict[str, Any]:
    """The digits example's job."""
    return yaml.safe_load((EXAMPLES / "digits" / "job.yaml").read_text())  # type: ignore[no-any-return]


def variant(name: str, **spec: Any) -> dict[str, Any]:
    """The same under another name, with other fields."""
    job = example()
    return {**job, "metadata": {"name": name}, "spec": {**job["spec"], **spec}}


if __name__ == "__main__":
    main()
