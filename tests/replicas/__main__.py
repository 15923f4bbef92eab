"""Two replicas of the operator among silent watches, takeovers, freezes and lost answers, in virtual time.

`python -m replicas --minutes 60`: one random life after the other, and what each came to.
"""

import argparse
import itertools
import logging
import random
import sys
import time

import structlog

from replicas.virtual import run
from replicas.world import Outcome, World


async def _live(seed: int) -> Outcome:
    return await World(seed).live()


def live(seed: int) -> Outcome:
    """One life."""
    random.seed(seed)  # for the operator's own jitter
    return run(_live(seed))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    end = time.monotonic() + 60 * options.minutes
    takeovers = harms = violations = 0
    for seed in itertools.count(options.seed):
        outcome = live(seed)
        takeovers, harms = takeovers + outcome.takeovers, harms + outcome.harms
        violations += len(outcome.violations)
        for violation in outcome.violations[:5]:
            print(f"seed {seed}: VIOLATION at {violation}", flush=True)
        if time.monotonic() > end or seed % 10 == 9:
            lives = seed - options.seed + 1
            print(f"{lives} lives, {takeovers} takeovers, {harms} harms, {violations} violations", flush=True)
        if time.monotonic() > end:
            return 1 if violations else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
