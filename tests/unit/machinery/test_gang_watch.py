"""Which schedulers the API server serves, and what is kept of their objects."""

import asyncio
from contextlib import suppress
from typing import Any

from aiohttp import web

from footplate.gangs.kinds import GangKind
from footplate.machinery.api_discovery import find_gang_apis
from footplate.machinery.cluster import Cluster
from footplate.machinery.gang_watch import GangWatch
from footplate.machinery.kueue_cleaner import KueueCleaner
from footplate.machinery.metrics import Metrics
from footplate.objects import Key
from unit.machinery.support import START, FakeClock, HurriedClock, client_of, eventually, make, make_job, make_pod

JSON = dict[str, Any]
UID = "0b9fb7b6-0000-4000-8000-000000000001"
GROUP = "job-1-0-0b9fb7b6"
WORKLOADS = "/apis/kueue.x-k8s.io/v1beta2/workloads"
LIST = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "WorkloadList", "metadata": {"resourceVersion": "9"}}


def serving(**plurals: list[str]) -> dict[str, JSON]:
    """Discovery's answers by path, of `group/version`s and the plurals in them."""
    groups: dict[str, list[JSON]] = {}
    for api in plurals:
        groups.setdefault(api.split("/")[0], []).append({"groupVersion": api})
    answers: dict[str, JSON] = {"/apis": {"groups": [{"name": n, "versions": v} for n, v in groups.items()]}}
    for api, names in plurals.items():
        answers[f"/apis/{api}"] = {"resources": [{"name": name} for name in names]}
    return answers


async def find(answers: dict[str, JSON]) -> dict[GangKind, str]:
    async def handle(request: web.Request) -> web.Response:
        answer = answers.get(request.path)
        return web.json_response(answer or {"reason": "NotFound"}, status=200 if answer else 404)

    async with client_of(handle) as client:
        return dict(await find_gang_apis(client))


async def test_what_is_served() -> None:
    assert await find(serving(**{"apps/v1": ["deployments"]})) == {}
    both = {"kueue.x-k8s.io/v1beta1": ["workloads"], "kueue.x-k8s.io/v1beta2": ["workloads"]}
    assert await find(serving(**both)) == {GangKind.KUEUE: "kueue.x-k8s.io/v1beta2"}
    old = {
        "kueue.x-k8s.io/v1beta1": ["workloads", "localqueues"],
        "scheduling.volcano.sh/v1beta1": ["queues", "podgroups"],
    }
    assert await find(serving(**old)) == {
        GangKind.KUEUE: "kueue.x-k8s.io/v1beta1",
        GangKind.VOLCANO: "scheduling.volcano.sh/v1beta1",
    }


async def test_a_group_without_pod_groups_is_no_scheduler() -> None:
    apis = {"scheduling.k8s.io/v1": ["priorityclasses"], "scheduling.k8s.io/v1alpha2": ["podgroups", "workloads"]}
    assert await find(serving(**apis)) == {GangKind.NATIVE: "scheduling.k8s.io/v1alpha2"}
    assert await find(serving(**{"scheduling.k8s.io/v1beta1": ["others"]})) == {}
    gone = serving(**{"scheduling.k8s.io/v1beta1": ["podgroups"]})
    del gone["/apis/scheduling.k8s.io/v1beta1"]
    assert await find(gone) == {}, "its resources went while it was asked"


def workload(name: str = GROUP, *, is_group: bool = True, version: int = 1, **status: Any) -> JSON:
    annotations = {"kueue.x-k8s.io/is-group-workload": "true"} if is_group else {}
    made = make(name, version=version, metadata={"annotations": annotations}, spec={"podSets": []}, status=status)
    return {**made, "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload"}


async def test_workloads_are_followed_while_they_are_served(logs: list[Any]) -> None:
    """And only those of groups of ours; a job hears of its own."""
    answers = serving(**{"kueue.x-k8s.io/v1beta2": ["workloads"]})
    listed = [workload(), workload("job-other-abcde"), workload("own-1-0-0b9fb7b6", is_group=False)]
    enqueued: list[Key] = []

    async def handle(request: web.Request) -> web.Response:
        if request.path == WORKLOADS and "watch" in request.query:
            await asyncio.Event().wait()
        if request.path == WORKLOADS:
            return web.json_response({**LIST, "items": listed})
        answer = answers.get(request.path)
        return web.json_response(answer or {"reason": "NotFound"}, status=200 if answer else 404)

    clock, cluster = FakeClock(), Cluster(enqueued.append)
    cluster.jobs.observe(make_job(uid=UID, status={"phase": "Pending"}))
    enqueued.clear()
    async with client_of(handle, clock=clock) as client:
        watch = GangWatch(client, cluster.gangs, clock=clock, metrics=Metrics(), namespaces=("",))
        task = asyncio.create_task(watch.run())
        await eventually(lambda: GangKind.KUEUE in cluster.gangs.watched, state=lambda: logs)
        assert enqueued == [("ns", "job"), ("ns", "job")], "of what is served, and of its Workload"
        assert [*cluster.gangs.stores[GangKind.KUEUE].objects()] == [("ns", GROUP)]
        state = cluster.gangs.state_of(make_job(uid=UID))
        assert state.group(GangKind.KUEUE, GROUP) is not None
        answers["/apis"] = {"groups": []}
        await clock.advance(60)
        await eventually(lambda: not cluster.gangs.apis)
        assert not cluster.gangs.watched
        assert not cluster.gangs.stores[GangKind.KUEUE].objects()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_failed_discovery_takes_nothing_back() -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response({}, status=503)

    cluster = Cluster(lambda key: None)
    cluster.gangs.note_apis({GangKind.NATIVE: "scheduling.k8s.io/v1beta1"})
    async with client_of(handle, clock=HurriedClock()) as client:
        watch = GangWatch(client, cluster.gangs, clock=HurriedClock(), metrics=Metrics(), namespaces=("",))
        assert not await watch.refresh()
    assert not watch.synced.is_set()
    assert cluster.gangs.apis == {GangKind.NATIVE: "scheduling.k8s.io/v1beta1"}


def queued_pod(rank: int, *, deleted: bool, node: str = "") -> JSON:
    job = make_job(uid=UID)
    pod = make_pod(job, rank, spec={"nodeName": node} if node else {}, status={"phase": "Pending"})
    pod["metadata"]["labels"] |= {"footplate.dev/job": "job", "footplate.dev/job-uid": UID}
    if deleted:
        pod["metadata"]["deletionTimestamp"] = START.isoformat()
    return pod


async def deleted_by_cleaner(*pods: JSON) -> list[str]:
    """Paths of what the cleaner deletes within half a minute."""
    paths: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        paths.append(f"{request.method} {request.path}")
        assert (await request.json())["preconditions"]["uid"] == f"uid-{GROUP}"
        return web.json_response({"kind": "Status", "status": "Success"})

    clock, cluster = FakeClock(), Cluster(lambda key: None)
    cluster.gangs.stores[GangKind.KUEUE].observe(workload())
    for pod in pods:
        cluster.pods.observe(pod)
    async with client_of(handle, clock=clock) as client:
        task = asyncio.create_task(KueueCleaner(client, cluster, clock=clock).run())
        for _ in range(6):
            await clock.advance(5)
            await asyncio.sleep(0.02)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
    return paths


async def test_a_queued_group_that_was_deleted_loses_its_workload() -> None:
    path = f"DELETE /apis/kueue.x-k8s.io/v1beta2/namespaces/ns/workloads/{GROUP}"
    assert await deleted_by_cleaner(queued_pod(0, deleted=True), queued_pod(1, deleted=True)) == [path]


async def test_a_group_that_lives_or_holds_a_node_is_left_alone() -> None:
    assert await deleted_by_cleaner(queued_pod(0, deleted=True), queued_pod(1, deleted=False)) == []
    assert await deleted_by_cleaner(queued_pod(0, deleted=True), queued_pod(1, deleted=True, node="a")) == []
    assert await deleted_by_cleaner() == []
