"""Two and three real replicas are killed, frozen, cut off, slowed down, replaced: none writes without the lease, no
healthy gang is touched, and another acts within 15 seconds.

    make chaos-replicas            # 100 schedules
    make chaos-replicas SEED=17    # one again

Every schedule is drawn from its seed; what a strike meets depends on the machine.
"""

from pathlib import Path

import pytest

from crds import install_crds
from failover.conduct import Outcome, live_through
from failover.schedule import draw
from footplate.devcluster.client import ApiClient
from footplate.devcluster.server import ApiServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FAILOVER_SECONDS = 15.0


@pytest.mark.timeout(300)
async def test_a_schedule_harms_nobody(seed: int, tmp_path: Path, record_property: object) -> None:
    async with ApiServer() as server:
        async with ApiClient(server.kubeconfig()) as client:
            await install_crds(client)
        outcome = await live_through(draw(seed), server.kubeconfig(), tmp_path)
    record_property("life", summarize(outcome))  # type: ignore[operator]
    assert not outcome.problems, "\n".join([str(outcome.schedule), *outcome.problems, str(tmp_path)])
    late = [each for each in outcome.failovers if each[1] >= FAILOVER_SECONDS]
    assert not late, f"{outcome.schedule}\n{late}"


def summarize(outcome: Outcome) -> dict[str, object]:
    """What the table at the end adds up."""
    return {
        "problems": len(outcome.problems),
        "failovers": [(str(kind), seconds) for kind, seconds in outcome.failovers],
        "tenures": outcome.tenures,
        "writes": outcome.writes,
        "jobs": outcome.jobs,
        "strikes": outcome.strikes,
    }
