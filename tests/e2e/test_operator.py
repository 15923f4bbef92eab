"""The operator goes and comes; gangs don't notice."""

import pytest

from e2e import jobs
from e2e.site import ClusterSite
from realcluster.chart import NAMESPACE

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

BRIEF = "print('done', flush=True)"
GANGS = ("first", "second", "third")


def uids(team: ClusterSite, name: str) -> list[str]:
    """Of a job's pods."""
    look = "jsonpath={.items[*].metadata.uid}"
    return sorted(team.kubectl("get", "pods", "-l", f"footplate.dev/job={name}", "-o", look).stdout.split())


def test_the_operators_pod_is_deleted(team: ClusterSite) -> None:
    team.apply(jobs.paced(team, "unmoved", steps=150, nodes=2))
    team.wait("unmoved", "jsonpath={.status.phase}=Running")
    before = uids(team, "unmoved")
    team.cluster.kubectl("delete", "pods", "--all", "-n", NAMESPACE, "--wait=false")
    team.apply(jobs.script(team, "newcomer", BRIEF))
    assert team.wait("newcomer", "condition=Finished")["phase"] == "Succeeded"
    assert uids(team, "unmoved") == before
    status = team.wait("unmoved", "condition=Finished")
    assert (status["phase"], status["restarts"]["total"]) == ("Succeeded", 0), status


def test_two_replicas_are_upgraded_under_running_gangs(team: ClusterSite) -> None:
    team.reconfigure(replicas=2)
    for name in GANGS:
        team.apply(jobs.paced(team, name, steps=9000, nodes=2))
    for name in GANGS:
        team.wait(name, "jsonpath={.status.phase}=Running")
    before = {name: uids(team, name) for name in GANGS}
    for cpu in ("110m", "120m"):
        operators = jobs.uids_of_operators(team)
        team.reconfigure(replicas=2, resources={"requests": {"cpu": cpu}})
        team.until(lambda: jobs.uids_of_operators(team), lambda found: len(found) == 2)
        assert not set(operators) & set(jobs.uids_of_operators(team)), "nothing was rolled out"
        assert {name: uids(team, name) for name in GANGS} == before
    steps = {name: step(team, name) for name in GANGS}
    for name in GANGS:
        team.until(lambda name=name: step(team, name), lambda seen, name=name: seen > steps[name], seconds=90)
        status = jobs.status(team, name)
        assert (status["phase"], status["restarts"]["total"], status["attempt"]) == ("Running", 0, 0), status


def step(team: ClusterSite, name: str) -> int:
    return int((jobs.status(team, name).get("progress") or {}).get("step", 0))
