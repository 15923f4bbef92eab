"""`make fuzz`: 10,000 manifests and 10,000 mutations; the figures, and what failed. `--seed` begins elsewhere."""

import argparse
import sys
import time
import warnings

from fuzz.campaign import attack
from fuzz.results import any_results
from fuzz.subjects import any_pod, any_status, manifest
from fuzz.words import any_answer, any_last_words

MUTATIONS = (any_status, any_pod, any_answer, any_last_words, any_results)


def main() -> int:
    """Runs it; 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="manifests, and mutations in all")
    parser.add_argument("--seed", type=int, default=0, help="the first of the seeds")
    options = parser.parse_args()
    warnings.simplefilter("error")
    began, failed = time.monotonic(), False
    shares = [(manifest, options.cases), *((each, options.cases // len(MUTATIONS)) for each in MUTATIONS)]
    for subject, cases in shares:
        outcome = attack(subject, range(options.seed, options.seed + cases))
        print(outcome, flush=True)
        for place, (count, seed, said) in outcome.failures.items():
            failed = True
            print(f"  {count} times {place}, first by seed {seed}:\n{said}", flush=True)
    print(f"in {time.monotonic() - began:.0f} s")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
