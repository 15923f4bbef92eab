"""The operator may be killed, or lose its connection, at every single write of a job's life: the end is the same.

Every write of an undisturbed life is swept, each in four ways: killed before the write reached the API server, killed
after it was committed, connection cut before, and the answer lost after.
"""

import asyncio
from pathlib import Path

import pytest

from crash_sweep import NODES, Harm, Life, live_through

pytestmark = pytest.mark.integration

HARMS: tuple[Harm, ...] = ("killed before", "killed after", "cut before", "answer lost")
LANES = 4
"""Lives that are lived side by side, each in a cluster of its own."""


@pytest.mark.timeout(900)
async def test_every_write_may_be_the_operators_last(tmp_path: Path) -> None:
    undisturbed = await live_through(tmp_path / "undisturbed", harm="none")
    assert problems(undisturbed, undisturbed) == []
    assert undisturbed.end["attempts"] == [
        (0, "UserError", NODES),
        (1, "SuspendedByUser", NODES),
        (2, "Completed", NODES),
    ]
    assert undisturbed.end["phase"] == "Succeeded"
    assert len(undisturbed.writes) >= 20, undisturbed.writes

    points = iter([(write, harm) for write in range(1, len(undisturbed.writes) + 1) for harm in HARMS])
    failures: list[str] = []

    async def lane() -> None:
        for write, harm in points:
            try:
                life = await live_through(tmp_path / f"{write}-{harm.replace(' ', '-')}", harm=harm, write=write)
                found = problems(life, undisturbed)
            except TimeoutError:
                found, life = ["the job never came to its end"], Life()
            what = life.writes[write - 1] if len(life.writes) >= write else undisturbed.writes[write - 1]
            failures.extend(f"write {write} ({what}) {harm}: {problem}" for problem in found)

    await asyncio.gather(*(lane() for _ in range(LANES)))
    assert failures == []


def problems(life: Life, undisturbed: Life) -> list[str]:
    """Where a life differs from what it should be."""
    found = list(life.violations)
    if life.end != undisturbed.end:
        found.append(f"ended as {life.end}, not as {undisturbed.end}")
    if life.left:
        found.append(f"left behind: {life.left}")
    names = {f"swept-1-{attempt}-{rank}" for attempt in range(3) for rank in range(NODES)}
    if life.pods.keys() != names or set(life.pods.values()) != {1}:
        found.append(f"pods that were created: {dict(life.pods)}")
    return found
