"""Lives of jobs that an actor in Kueue's part queues, admits and preempts (`schedulers.kueue_player`)."""

import pytest

from schedulers.kueue_player import MANAGED, Kueue
from schedulers.world import World, whole_gangs

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

QUEUED = {"scheduling": {"queueName": "vision"}}


async def kueue(world: World, *, places: int = 3) -> Kueue:
    await world.prepare("kueue", nodes=places)
    return Kueue(world.client, world.namespace, places=places, queues=("vision",))


async def group_of(world: World, name: str, attempt: int = 0) -> str:
    """Name of an attempt's group, as its pods say it."""
    label = "footplate.dev/attempt"
    pods = [pod for pod in await world.pods(name) if pod["metadata"]["labels"][label] == str(attempt)]
    return str(pods[0]["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"])


async def test_a_life_queued_admitted_preempted_requeued_and_done(world: World) -> None:
    player = await kueue(world)
    async with world.at_work(player.play):
        labels = {"kueue.x-k8s.io/priority-class": "high"}
        await world.apply("first", nodes=2, **QUEUED, podTemplate={"labels": labels})
        status = await world.until_phase("first", "Running")
        assert status["attempts"][0]["gang"] == "kueue"
        group = await group_of(world, "first")
        assert player.priorities[group] == "high"

        await world.apply("second", nodes=2, **QUEUED)
        status = await world.until_status("second", lambda status: "insufficient" in (status.get("message") or ""))
        assert (status["phase"], status["reason"]) == ("Queued", "WaitingForQueue")
        assert "Kueue's queue vision: " in status["message"], status["message"]
        assert "others use the quota; it starts when they are done" in status["message"]

        await player.evict(group, "Preempted to accommodate a workload of higher priority")
        status = await world.until_status("first", lambda status: status.get("attempt") == 1)
        assert status["restarts"] == {"user": 0, "infrastructure": 1, "hang": 0, "total": 1}
        assert status["attempts"][0]["reason"] == "Evicted"
        assert "stopped by Kueue: Preempted to accommodate" in status["failure"]["message"]

        await world.until_phase("second", "Running")
        status = await world.until_status("first", lambda status: status.get("reason") == "WaitingForQueue")
        player.kubelets.done.add("second")
        await world.until_phase("second", "Succeeded")
        await world.until_phase("first", "Running")
        player.kubelets.done.add("first")
        status = await world.until_phase("first", "Succeeded")
        assert [attempt["gang"] for attempt in status["attempts"]] == ["kueue", "kueue"]
        assert group != await group_of(world, "first", 1), "one group an attempt"
        whole_gangs(player, nodes=2)


async def test_what_doesnt_fit_is_said_and_waits(world: World) -> None:
    player = await kueue(world)
    async with world.at_work(player.play):
        await world.apply("lost", nodes=2, scheduling={"gang": "kueue", "queueName": "visoin"})
        status = await world.until_status("lost", lambda status: "doesn't exist" in (status.get("message") or ""))
        assert "LocalQueue visoin doesn't exist; the job goes on by itself once" in status["message"]
        await world.apply("large", nodes=4, **QUEUED)
        status = await world.until_status("large", lambda status: "maximum" in (status.get("message") or ""))
        assert "it asks for more than the queue can ever have" in status["message"]
        player.queues.add("visoin")
        await world.until_phase("lost", "Running")
        assert (await world.status("large"))["phase"] == "Queued"


@pytest.mark.slow
async def test_a_queued_gang_is_not_released_and_leaves_nothing_behind(world: World) -> None:
    """Its scheduling timeout of a second passes; it is suspended, resumed, and deleted, all in the queue."""
    player = await kueue(world, places=2)
    async with world.at_work(player.play):
        await world.apply("holder", nodes=2, **QUEUED)
        await world.until_phase("holder", "Running")
        await world.apply("queued", nodes=2, **QUEUED, runPolicy={"schedulingTimeoutSeconds": 1})
        await world.until_status("queued", lambda status: status.get("reason") == "WaitingForQueue")
        first = {pod["metadata"]["uid"] for pod in await world.pods("queued")}
        await world.edit("queued", suspend=True)
        await world.until_phase("queued", "Suspended")
        await world.until(lambda: world.pods("queued"), lambda pods: not pods)
        await world.edit("queued", suspend=False)
        status = await world.until_status("queued", lambda status: "insufficient" in (status.get("message") or ""))
        assert [attempt.get("reason") for attempt in status["attempts"]] == ["SuspendedByUser", None]
        pods = await world.pods("queued")
        assert first.isdisjoint(pod["metadata"]["uid"] for pod in pods)
        assert all(pod["metadata"]["finalizers"] == [MANAGED] for pod in pods)
        await world.delete("queued")
        await world.until(lambda: world.pods("queued"), lambda pods: not pods)
        await world.until(player.workloads, lambda found: not any(name.startswith("queued-") for name in found))
        whole_gangs(player, nodes=2)


@pytest.mark.slow
async def test_without_kueue_the_job_waits_and_goes_on_when_it_is_there(world: World) -> None:
    """Nothing runs past the queue that was named: not where Kueue isn't installed, nor where it isn't at work."""
    await world.prepare(nodes=2)
    await world.withdraw("kueue")
    async with world.at_work():
        await world.apply("early", nodes=2, **QUEUED)
        status = await world.until_status("early", lambda status: status.get("reason") == "WaitingForGang")
        assert status["message"].startswith(
            "scheduling.queueName needs Kueue, whose API kueue.x-k8s.io it doesn't serve"
        )
        assert await world.pods("early") == []
    await world.serve("kueue")
    async with world.at_work():
        status = await world.until_status("early", lambda status: "no Workload" in (status.get("message") or ""))
        assert "it doesn't manage pods in this namespace" in status["message"]
        assert all(pod["spec"]["schedulingGates"] for pod in await world.pods("early"))
    player = Kueue(world.client, world.namespace, places=2, queues=("vision",))
    async with world.at_work(player.play):
        await world.until_phase("early", "Running")


async def test_a_gang_deleted_while_it_runs_leaves_nothing_behind(world: World) -> None:
    player = await kueue(world)
    async with world.at_work(player.play):
        await world.apply("short", nodes=2, **QUEUED)
        await world.until_phase("short", "Running")
        await world.delete("short")
        await world.until(lambda: world.pods("short"), lambda pods: not pods)
        await world.until(player.workloads, lambda found: not found)
