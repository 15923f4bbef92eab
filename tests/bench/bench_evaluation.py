"""How long it takes to evaluate a million predictions, and how much memory: prints a line of JSON for each task.

Memory is the peak of the process less what it held before, the arguments not counted.
"""

import json
import resource
import time

import numpy as np

from footplate_trainer import evaluate

SAMPLES = 1_000_000
CLASSES = 10


def main() -> None:
    """Measures classes by probabilities, with two slices beside, and a regression."""
    chance = np.random.default_rng(0)
    targets = chance.integers(0, CLASSES, SAMPLES)
    scores = chance.random((SAMPLES, CLASSES)) + 0.5 * np.eye(CLASSES)[targets]
    scores /= scores.sum(axis=1, keepdims=True)
    estimates = targets + chance.normal(size=SAMPLES)
    half = chance.integers(0, 2, SAMPLES)
    tasks = {
        "regression": lambda: evaluate(estimates, targets.astype(float)),
        f"{CLASSES} classes": lambda: evaluate(scores, targets),
        f"{CLASSES} classes, 2 slices": lambda: evaluate(scores, targets, slices={"half": half}),
    }
    for name, measure in tasks.items():
        before, began, cpu = _peak_bytes(), time.perf_counter(), time.process_time()
        found = measure()
        figures = {
            "seconds": round(time.perf_counter() - began, 2),
            "cpuSeconds": round(time.process_time() - cpu, 2),
            "MiB": round((_peak_bytes() - before) / 2**20),
        }
        print(json.dumps({"task": name, "samples": found.samples, **figures}))


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
