"""The operator may be killed, or lose its connection, at every single write of a job's life: the end is the same.

Every write of an undisturbed life is swept in four ways: killed before the write reached the API server, killed after
it was committed, connection cut before, and the answer lost after. CI takes two of them at each write, in turns, so
that each way meets every other write; SWEEP=all (`make chaos`) takes all four.
"""

import asyncio
import os
from pathlib import Path

import pytest

from crash_sweep import Harm, live_through
from job_life import Life, problems

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HARMS: tuple[Harm, ...] = ("killed before", "killed after", "cut before", "answer lost")
LANES = 4
"""Lives that are lived side by side, each in a cluster of its own."""


@pytest.mark.timeout(900)
async def test_every_write_may_be_the_operators_last(tmp_path: Path) -> None:
    undisturbed = await live_through(tmp_path / "undisturbed", harm="none")
    assert problems(undisturbed) == []
    assert len(undisturbed.writes) >= 20, undisturbed.writes

    every = 1 if os.environ.get("SWEEP") == "all" else 2
    writes = range(1, len(undisturbed.writes) + 1)
    points = iter([(write, harm) for write in writes for n, harm in enumerate(HARMS) if (write + n) % every == 0])
    failures: list[str] = []

    async def lane() -> None:
        for write, harm in points:
            try:
                life = await live_through(tmp_path / f"{write}-{harm.replace(' ', '-')}", harm=harm, write=write)
                found = problems(life)
            except TimeoutError:
                found, life = ["the job never came to its end"], Life()
            what = life.writes[write - 1] if len(life.writes) >= write else undisturbed.writes[write - 1]
            failures.extend(f"write {write} ({what}) {harm}: {problem}" for problem in found)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    assert failures == []
