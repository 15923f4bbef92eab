"""Kubernetes' own gangs with its own scheduler: kube-apiserver and kube-scheduler 1.36 with the gates that it takes.

Nodes are Node objects with four places each; the scheduler binds, and `Kubelets` play the rest.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from footplate.devcluster.client import MERGE
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES
from schedulers.players import LOOK_SECONDS, Kubelets, is_bound
from schedulers.world import World

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(240)]

GATES = "GenericWorkload=true,GangScheduling=true"
API = "scheduling.k8s.io/v1alpha2"
PLACES = 4


@pytest.fixture(scope="module")
def gang_plane() -> Iterator[ControlPlane]:
    """A control plane that knows gangs, with a scheduler."""
    assets = find_assets()
    if assets is None or not (assets / "kube-scheduler").is_file():
        pytest.skip(f"{NEEDS_BINARIES}, with kube-scheduler beside them")
    with ControlPlane(server_options=[f"--feature-gates={GATES}", f"--runtime-config={API}=true"]) as plane:
        plane.start_scheduler(f"--feature-gates={GATES}")
        plane.start_controllers("podgroup-protection-controller", f"--feature-gates={GATES}")
        yield plane


@pytest.fixture
async def gang_world(gang_plane: ControlPlane) -> AsyncIterator[World]:
    world = World(gang_plane.kubeconfig_path)
    async with world.client:
        await world.prepare(nodes=1)
        room = {"cpu": str(PLACES), "memory": "64Gi", "pods": "110"}
        await world.client.request("PATCH", "/api/v1/nodes/node-00000", {"spec": {"taints": None}}, kind=MERGE)
        status = {"status": {"allocatable": room, "capacity": room}}
        await world.client.request("PATCH", "/api/v1/nodes/node-00000/status", status, kind=MERGE)
        yield world


async def play(world: World, kubelets: Kubelets) -> None:
    while True:
        await kubelets.look((await world.client.request("GET", world.pods_path))["items"])
        await asyncio.sleep(LOOK_SECONDS)


def wanting(nodes: int) -> dict[str, Any]:
    return {"nodes": nodes, "resources": {"requests": {"cpu": "1"}}}


async def test_of_two_gangs_that_dont_both_fit_one_runs_whole_and_the_other_waits(gang_world: World) -> None:
    world, kubelets = gang_world, Kubelets(gang_world.client, gang_world.namespace)
    async with world.at_work(lambda: play(world, kubelets)):
        await world.apply("first", **wanting(3))
        status = await world.until_phase("first", "Running")
        assert status["attempts"][0]["gang"] == "native", "auto tells the cluster's own scheduler"
        [group] = await world.groups(API)
        assert group["spec"]["schedulingPolicy"] == {"gang": {"minCount": 3}}
        assert {pod["spec"]["schedulingGroup"]["podGroupName"] for pod in await world.pods("first")} == {
            group["metadata"]["name"]
        }

        await world.apply("second", **wanting(3))
        status = await world.until_status("second", lambda status: "Insufficient cpu" in (status.get("message") or ""))
        print(f"second: {status['message']}")
        assert (status["phase"], status["reason"]) == ("Queued", "WaitingForGang")
        assert not any(map(is_bound, await world.pods("second"))), "half a gang is never placed"

        kubelets.done.add("first")
        await world.until_phase("first", "Succeeded")
        await world.until_phase("second", "Running")
        groups = await world.until(lambda: world.groups(API), lambda found: len(found) == 1)
        await world.delete("second")
        await world.until(lambda: world.pods("second"), lambda pods: not pods)
        await world.until(lambda: world.groups(API), lambda found: not found)
        assert groups


async def test_a_plain_gang_beside_it_is_scheduled_by_halves(gang_world: World) -> None:
    """What gangs are good for: with `gang: none` one pod of two is placed where there is room for one."""
    world, kubelets = gang_world, Kubelets(gang_world.client, gang_world.namespace)
    async with world.at_work(lambda: play(world, kubelets)):
        await world.apply("holder", **wanting(3), scheduling={"gang": "none"})
        await world.until_phase("holder", "Running")
        await world.apply("halved", **wanting(2), scheduling={"gang": "none"})
        await world.until(lambda: world.pods("halved"), lambda pods: sum(map(is_bound, pods)) == 1)
        assert await world.groups(API) == []
        for name in ("holder", "halved"):
            await world.delete(name)
            await world.until(lambda name=name: world.pods(name), lambda pods: not pods)  # type: ignore[misc]
