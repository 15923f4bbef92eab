"""From starting a rank's process to its first finished step, on scikit-learn's digits, beside bare `import torch`.

    python tests/bench/bench_startup.py [TIMES]

One rank, data already on disk. Prints one JSON line with the medians in seconds.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from rank_processes import Job  # noqa: E402

EXAMPLE = TESTS.parent / "examples" / "digits" / "make_data.py"


def first_step_seconds(root: Path, folder: Path) -> float:
    settings = {"recipe": "image-classification", "inputs": {"train": str(folder)}, "of_recipe": {"batchSize": 64}}
    began = time.perf_counter()
    with Job(root, "recipe.py", 1, settings).start(0) as gang:
        if not gang.wait_for_step(1):
            sys.exit(gang.logs())
        return time.perf_counter() - began


def import_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - began


def main(times: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        subprocess.run([sys.executable, EXAMPLE, root / "digits"], check=True, stdout=subprocess.DEVNULL)
        pairs = [(first_step_seconds(root / str(run), root / "digits"), import_seconds()) for run in range(times)]
    first_step, import_torch = (round(statistics.median(column), 2) for column in zip(*pairs, strict=True))
    print(json.dumps({"bench": "startup", "first_step_s": first_step, "import_torch_s": import_torch, "times": times}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
