"""Makes the pictures of README and docs, of jobs that really run: `make pictures`, two minutes on a quiet machine.

Two runs of the digits example train in an embedded cluster; a pod of the first is killed in the middle.
"""

import argparse
import tempfile
import time
from pathlib import Path

import yaml

from laptop import EXAMPLES, ROOT, Laptop, make_data
from pictures import page

FOLDER = ROOT / "docs" / "pictures"
PICTURES = (page.take,)
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
    """One job that is disturbed, and one that has learned faster."""
    digits = yaml.safe_load((EXAMPLES / "digits" / "job.yaml").read_text())
    quick = yaml.safe_load((EXAMPLES / "digits" / "job.yaml").read_text())
    quick["metadata"]["name"] = "digits-large-batch"
    quick["spec"]["trainer"]["hyperparameters"] |= {"batchSize": 128, "learningRate": 0.006}
    laptop.apply(digits)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (((laptop.get("tj", "digits").get("status") or {}).get("progress") or {}).get("step") or 0) < KILLED_AT:
        assert time.monotonic() < deadline, "digits doesn't get far"
        time.sleep(0.5)
    laptop.kubectl(
        "delete", "pod", "-l", "footplate.dev/job=digits,footplate.dev/rank=1", "--grace-period=0", "--force"
    )
    laptop.wait("digits")
    laptop.apply(quick)
    laptop.wait("digits-large-batch")


if __name__ == "__main__":
    main()
