"""Schedules of faults for real replicas on a real API server, whose audit log is the judge: who wrote, while who held
the lease. `make chaos-replicas` plays many more of them on the devcluster.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from failover.conduct import live_through
from failover.judge import middle_and_worst
from failover.schedule import KINDS, draw
from realcluster.audit import outside
from realcluster.chart import NAMESPACE, RELEASE
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES, plane_with_chart

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_assets() is None, reason=NEEDS_BINARIES),
]

FIRST, LAST = map(int, os.environ.get("FAILOVER_REAL_SEEDS", f"0-{len(KINDS) - 1}").split("-"))
"""By default each kind of fault is a leader's first once."""
ACCOUNTS = 12
FAILOVER_SECONDS = 15.0


@pytest.fixture(scope="module")
def judged() -> Iterator[ControlPlane]:
    """A control plane with the chart, and an account for each replica with the rights of the chart's own."""
    with plane_with_chart() as plane:
        for number in range(ACCOUNTS):
            plane.kubectl("create", "serviceaccount", f"replica-{number}", "-n", NAMESPACE)
        subjects = [
            {"kind": "ServiceAccount", "name": f"replica-{number}", "namespace": NAMESPACE}
            for number in range(ACCOUNTS)
        ]
        for kind, name in (
            ("clusterrolebinding", RELEASE),
            ("clusterrolebinding", f"{RELEASE}-cluster"),
            ("rolebinding", f"{RELEASE}-lease"),
        ):
            patch = json.dumps({"subjects": subjects})
            plane.kubectl("patch", kind, name, "-n", NAMESPACE, "--type=merge", "-p", patch)
        yield plane


@pytest.mark.parametrize("seed", range(FIRST, LAST + 1))
async def test_nobody_writes_without_the_lease(judged: ControlPlane, seed: int, tmp_path: Path) -> None:
    def options_of(name: str) -> Mapping[str, Any]:
        config = json.loads(judged.log_in(name, namespace=NAMESPACE, folder=tmp_path).read_text())
        return {"user": {"token": config["users"][0]["user"]["token"]}}

    names = [f"replica-{number}" for number in range(ACCOUNTS)]
    before = len(judged.written_by(*names, namespace=NAMESPACE))
    kubeconfig = json.loads(judged.kubeconfig_path.read_text())
    outcome = await live_through(draw(seed), kubeconfig, tmp_path, options_of=options_of)
    writes = judged.written_by(*names, namespace=NAMESPACE)[before:]
    seconds = middle_and_worst([seconds for _, seconds in outcome.failovers])
    print(f"{outcome.schedule}\n{len(writes)} writes in the audit log, {outcome.tenures} tenures; failover: {seconds}")
    assert len(writes) > outcome.tenures
    assert outside(writes) == []
    assert not outcome.problems, "\n".join(outcome.problems)
    assert all(seconds < FAILOVER_SECONDS for _, seconds in outcome.failovers)
