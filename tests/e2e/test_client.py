"""What a user sees of a job by the client, where pods are real: how far it is, its ranks, its log, why it restarted."""

import subprocess

import pytest

from e2e import jobs
from e2e.site import ClusterSite
from footplate.client import Client, Job
from realcluster.user import TEAM

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_pod_is_deleted_and_everything_says_so(team: ClusterSite, nodes: tuple[str, str]) -> None:
    job = jobs.paced(team, "seen", steps=400, every=5, nodes=2)
    job["spec"]["podTemplate"] |= jobs.apart("seen")
    team.apply(job)
    with Client(kubeconfig=str(team.cluster.kubeconfig_path), namespace=TEAM) as client:
        seen = client.get("seen").wait("Running", timeout=120)
        first = team.until(lambda: _step(seen), bool, seconds=120)
        assert team.until(lambda: _step(seen), lambda step: step > first, seconds=5) > first  # not the status' 15 s
        assert {rank.node for rank in seen.ranks()} == set(nodes)
        assert any("training starts" in line.text for line in seen.logs(0))
        assert "seen" in [each.name for each in client.list()]
        jobs.wait_for_checkpoint(team, "seen")

        team.kubectl("delete", "pod", "seen-1-0-1", "--wait=false")
        team.until(lambda: seen.refresh().attempt, lambda attempt: attempt == 1, seconds=60)
        team.until(lambda: _reasons(seen), lambda reasons: "ResumedFromCheckpoint" in reasons, seconds=60)
        assert "deleted by somebody else" in "\n".join(seen.refresh().why().facts), seen.why()
        steps = seen.refresh().history().steps
        assert steps == sorted(set(steps)), "an undone step is in the curve"
        assert _step(seen) > 0
        seen.cancel()
        assert _footplate(team, "wait", "seen") == 3


def _step(job: Job) -> int:
    live = job.refresh().live()
    return (live.step if live is not None else None) or 0


def _reasons(job: Job) -> list[str]:
    return [event.reason for event in job.events()]


def _footplate(team: ClusterSite, *arguments: str) -> int:
    kubeconfig = f"--kubeconfig={team.cluster.kubeconfig_path}"
    command = ["footplate", *arguments, kubeconfig, f"--namespace={TEAM}"]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode
