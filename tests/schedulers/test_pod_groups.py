"""Gangs of schedulers that read PodGroups, coscheduling's and Volcano's, whose part actors play."""

from functools import partial

import pytest

from footplate.attempt_spec import AttemptSpec
from footplate.gangs.kinds import GangKind
from footplate.gangs.state import name_of
from footplate.podspec import build_group
from footplate.policy.resolve import resolve
from schedulers.players import Coscheduling, Object, PodGroupPlayer, Volcano, is_bound
from schedulers.world import World, whole_gangs
from unit.policy.build import job

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

PLAYERS = [pytest.param(Coscheduling, "coscheduling", {"gang": "coscheduling"}, id="coscheduling"),
           pytest.param(Volcano, "volcano", {"gang": "volcano", "queueName": "vision"}, id="volcano")]  # fmt: skip
kinds = pytest.mark.parametrize(("play", "kind", "scheduling"), PLAYERS)


async def scouts_of(world: World, name: str) -> list[Object]:
    return [pod for pod in await world.pods(name) if "footplate.dev/scout" in pod["metadata"]["labels"]]


def bound(pods: list[Object]) -> int:
    return sum(map(is_bound, pods))


@kinds
async def test_of_two_gangs_that_dont_both_fit_one_runs_whole(
    world: World, play: type[PodGroupPlayer], kind: str, scheduling: dict[str, str]
) -> None:
    await world.prepare(kind, nodes=4)
    player = play(world.client, world.namespace, places=4)
    async with world.at_work(player.play):
        await world.apply("first", nodes=3, scheduling=scheduling)
        status = await world.until_phase("first", "Running")
        assert status["attempts"][0]["gang"] == kind
        [group] = await world.groups(player.api)
        assert group["spec"]["minMember"] == 3
        assert group["metadata"]["ownerReferences"][0]["kind"] == "TrainingJob"

        await world.apply("second", nodes=3, scheduling=scheduling)
        status = await world.until_status("second", lambda status: "3 wait, 1 find" in (status.get("message") or ""))
        reason = "WaitingForQueue" if kind == "volcano" else "WaitingForGang"
        assert (status["phase"], status["reason"]) == ("Queued", reason)
        assert bound(await world.pods("second")) == 0, "half a gang never runs"
        await world.until(lambda: world.groups(player.api), lambda found: len(found) == 2)

        await world.client.request("DELETE", f"{world.pods_path}/first-1-0-1")
        status = await world.until_status("first", lambda status: status.get("attempt") == 1)
        of_first = {f"first-1-{status['attempt']}"}
        await world.until(
            lambda: world.groups(player.api),
            lambda found: {name_of(each)[:9] for each in found if name_of(each).startswith("first")} == of_first,
        )

        await world.edit("first", suspend=True)
        await world.until_phase("second", "Running")
        await world.edit("first", suspend=False)
        await world.until_status("first", lambda status: "find a node" in (status.get("message") or ""))
        player.kubelets.done.add("second")
        await world.until_phase("second", "Succeeded")
        await world.until_phase("first", "Running")
        await world.delete("first")
        await world.until(lambda: world.pods("first"), lambda pods: not pods)
        await world.until(lambda: world.groups(player.api), lambda found: not found)
        whole_gangs(player, nodes=3)


@kinds
async def test_an_elastic_gang_makes_do_with_its_fewest(
    world: World, play: type[PodGroupPlayer], kind: str, scheduling: dict[str, str]
) -> None:
    await world.prepare(kind, nodes=2)
    player = play(world.client, world.namespace, places=2)
    async with world.at_work(player.play):
        policy = {"schedulingTimeoutSeconds": 1}
        elastic = {"minNodes": 2, "maxNodes": 4}
        await world.apply("elastic", nodes=4, elastic=elastic, scheduling=scheduling, runPolicy=policy)
        status = await world.until_phase("elastic", "Running")
        assert status["nodes"]["desired"] == 2
        [group] = await world.until(lambda: world.groups(player.api), lambda found: len(found) == 1)
        assert group["spec"]["minMember"] == 2
        scouts = await world.until(partial(scouts_of, world, "elastic"), bool)
        assert {player.group_of(pod) for pod in scouts} == {""}, "a scout is in no group"
        assert {pod["spec"]["schedulerName"] for pod in scouts} == {player.scheduler}


@pytest.mark.slow
@kinds
async def test_nobody_looks_after_the_group(
    world: World, play: type[PodGroupPlayer], kind: str, scheduling: dict[str, str]
) -> None:
    """The CRD is there, and no controller or scheduler behind it."""
    await world.prepare(kind, nodes=2)
    async with world.at_work():
        await world.apply("alone", nodes=2, scheduling=scheduling)
        status = await world.until_status("alone", lambda status: "PodGroup" in (status.get("message") or ""))
        assert "nobody has looked at its PodGroup for more than 10 s" in status["message"]
        assert f"scheduler {play.scheduler} has said nothing of the pods" in status["message"]
        assert status["phase"] == "Queued"


async def test_a_queue_that_volcano_hasnt_got(world: World) -> None:
    await world.prepare("volcano", nodes=2)
    player = Volcano(world.client, world.namespace, places=2)
    async with world.at_work(player.play):
        await world.apply("lost", nodes=2, scheduling={"gang": "volcano", "queueName": "visoin"})
        status = await world.until_status("lost", lambda status: "let it in" in (status.get("message") or ""))
        assert "Volcano's queue visoin hasn't let it in yet" in status["message"]
        assert "`kubectl get queues.scheduling.volcano.sh`" in status["message"]


@kinds
async def test_what_is_made_is_what_the_crd_takes(
    world: World, play: type[PodGroupPlayer], kind: str, scheduling: dict[str, str]
) -> None:
    """Nothing of a PodGroup is pruned, and the API server finds nothing to warn of."""
    await world.prepare(kind, nodes=1)
    spec = {"scheduling": {**scheduling, "priorityClassName": "high"}, "elastic": {"minNodes": 2, "maxNodes": 4}}
    config = resolve(job({**spec, "nodes": 3}, name="fashion", namespace=world.namespace), None, run=1)
    gang = AttemptSpec(config, config.spec, "any", attempt=0, nodes=3, gang=GangKind(kind))
    group = build_group(gang, play.api)
    assert group is not None
    alone = {**group, "metadata": {**group["metadata"], "ownerReferences": []}}  # its job isn't there
    path = f"/apis/{play.api}/namespaces/{world.namespace}/podgroups"
    made = await world.client.request("POST", path, alone, fieldValidation="Strict")
    assert made["spec"] == group["spec"]
    assert made["spec"]["minMember"] == 2
