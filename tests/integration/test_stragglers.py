"""A rank that is slower than the others has a name, for as long as it is."""

from pathlib import Path

import pytest

from footplate_trainer import exchange
from footplate_trainer.timing.stragglers import WINDOW_SECONDS
from rank_processes import Gang, Job

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PATIENCE = 180.0
"""Seconds: on a machine that does much else a rank takes a minute to start."""


def stragglers(gang: Gang) -> dict[int, float] | None:
    """Factors by rank, as rank 0 reports them; None before its first report."""
    report = exchange.read_report(gang.run_dirs[0])
    return None if report is None else {straggler.rank: straggler.factor for straggler in report.stragglers}


def test_a_rank_that_is_slow_to_load_is_a_straggler_until_it_is_not(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    job = Job(tmp_path, "straggler.py", 3, {"slow": str(slow)})
    with job.start(0) as gang:
        gang.wait_until(lambda: bool(stragglers(gang)), seconds=PATIENCE + WINDOW_SECONDS)
        found = stragglers(gang)
        work = [exchange.read_heartbeats(run_dir)[rank].work_seconds for rank, run_dir in enumerate(gang.run_dirs)]
        assert "rank 1 on node 1 is a straggler" in gang.logs()
        slow.unlink()
        gang.wait_until(lambda: stragglers(gang) == {}, seconds=PATIENCE)
    assert found is not None
    assert set(found) == {1}
    assert found[1] > 2
    assert work[1] > 0.2 > max(work[0], work[2])
