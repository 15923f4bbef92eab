"""Makes the pictures of README and docs, of jobs that really run: `make pictures`, two minutes on a quiet machine.

Two runs of the digits example train in an embedded cluster; a pod of the first is killed in the middle. Beside them
trains a table that was divided and checked before.
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
DATASETS = {"digits": "s3://datasets/digits/", "checked-data": "s3://datasets/checked-wine/"}
GATES = [{"metric": "testAccuracy", "atLeast": 0.95}, {"metric": "testF1.8", "atLeast": 0.9}]
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
        data = {name: make_data(name, Path(home) / "data" / name) for name in ("digits", "checked-data")}
        options = [f"--data={data[name]}={uri}" for name, uri in DATASETS.items()]
        with Laptop(Path(home), options=options) as laptop:
            run_jobs(laptop)
            for take in PICTURES:
                take(laptop, folder)


def run_jobs(laptop: Laptop) -> None:
    """One job that is disturbed, one that has learned faster, and some that don't run."""
    digits = variant("digits", evaluation={"gates": GATES})
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
    laptop.apply(variant("wine", of="checked-data", evaluation={"gates": GATES[:1]}))
    laptop.wait("digits-large-batch")
    laptop.wait("wine")


def variant(name: str, *, of: str = "digits", **spec: Any) -> dict[str, Any]:
    """An example's job under this name, with other fields."""
    job = yaml.safe_load((EXAMPLES / of / "job.yaml").read_text())
    return {**job, "metadata": {"name": name}, "spec": {**job["spec"], **spec}}


if __name__ == "__main__":
    main()
