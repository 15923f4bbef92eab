"""The devcluster's API server does to its clients what a test orders, and nothing else."""

import asyncio
import json
from typing import Literal

import aiohttp
import pytest

from api_cluster import ApiCluster, config_map, widget
from footplate.devcluster.faults import Fault, Faults, Request, WatchFault
from footplate.devcluster.server import ApiServer

pytestmark = [pytest.mark.integration, pytest.mark.slow]


async def create(cluster: ApiCluster, name: str) -> int:
    """The status of a create; 0 where no answer came."""
    try:
        return (await cluster.request("POST", f"{cluster.core}/configmaps", config_map(name))).status
    except aiohttp.ClientError:
        return 0


async def exists(cluster: ApiCluster, name: str) -> bool:
    return (await cluster.request("GET", f"{cluster.core}/configmaps/{name}")).status == 200


FAULTS = {
    "refused": (Fault(status=429, retry_after=1), 429, False),
    "server error": (Fault(status=500), 500, False),
    "cut before": (Fault(cut="before"), 0, False),
    "cut after": (Fault(cut="after"), 0, True),
    "slow": (Fault(delay=0.05), 201, True),
}


@pytest.mark.parametrize(("fault", "status", "made"), FAULTS.values(), ids=FAULTS)
async def test_a_write_meets_its_fault_once(
    devcluster: ApiCluster, faults: Faults, fault: Fault, status: int, made: bool
) -> None:
    rule = faults.add(fault, method="POST", path="configmaps", nth=2)
    assert await create(devcluster, "first") == 201
    assert await create(devcluster, "second") == status
    assert await exists(devcluster, "second") is made
    assert await create(devcluster, "third") == 201
    assert (rule.hits, rule.done) == (3, 1)


async def test_429_says_when_to_come_again(devcluster: ApiCluster, faults: Faults) -> None:
    faults.add(Fault(status=429, retry_after=7))
    answer = await devcluster.request("GET", f"{devcluster.core}/configmaps")
    assert (answer.body["reason"], answer.body["details"]["retryAfterSeconds"]) == ("TooManyRequests", 7)
    faults.clear()
    assert (await devcluster.request("GET", f"{devcluster.core}/configmaps")).status == 200


async def test_a_hook_sees_every_write_and_orders_its_fault(devcluster: ApiCluster, faults: Faults) -> None:
    seen: list[Request] = []

    def cut_the_second(request: Request) -> Fault | None:
        seen.append(request)
        return Fault(cut="after") if len(seen) == 2 else None

    faults.on_write(cut_the_second)
    assert [await create(devcluster, name) for name in ("a", "b", "c")] == [201, 0, 201]
    assert await exists(devcluster, "b")
    numbers = [request.sequence for request in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert {(request.method, request.agent) for request in seen} == {("POST", "probe/1")}
    assert [json.loads(request.body)["metadata"]["name"] for request in seen] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", ["cut", "half-line"])
async def test_a_watch_breaks_after_an_event(
    devcluster: ApiCluster, faults: Faults, kind: Literal["cut", "half-line"]
) -> None:
    faults.add(WatchFault(kind, after=1), path="widgets", nth=1)
    for name in ("a", "b"):
        await devcluster.must("POST", devcluster.widgets, widget(name))
    async with devcluster.watch(devcluster.widgets) as next_event:
        assert (await next_event())[0] == "ADDED"
        with pytest.raises((aiohttp.ClientError, json.JSONDecodeError)):
            await next_event()
    async with devcluster.watch(devcluster.widgets) as next_event:
        assert [(await next_event())[1]["metadata"]["name"] for _ in range(2)] == ["a", "b"]


async def test_a_watch_stalls(devcluster: ApiCluster, faults: Faults) -> None:
    faults.add(WatchFault("stall", after=1))
    for name in ("a", "b"):
        await devcluster.must("POST", devcluster.widgets, widget(name))
    async with devcluster.watch(devcluster.widgets) as next_event:
        assert (await next_event())[1]["metadata"]["name"] == "a"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await next_event()


async def test_a_watch_lags(devcluster: ApiCluster, faults: Faults) -> None:
    faults.add(WatchFault("lag", seconds=0.3))
    await devcluster.must("POST", devcluster.widgets, widget("a"))
    start = asyncio.get_running_loop().time()
    async with devcluster.watch(devcluster.widgets) as next_event:
        await next_event()
    assert asyncio.get_running_loop().time() - start >= 0.3


async def test_live_watches_are_cut_and_history_forgotten(
    devcluster: ApiCluster, api_server: ApiServer, faults: Faults
) -> None:
    made = await devcluster.must("POST", devcluster.widgets, widget("a"))
    version = made["metadata"]["resourceVersion"]
    async with devcluster.watch(devcluster.widgets, resourceVersion=version) as next_event:
        assert faults.cut_watches(path="widgets", agent="somebody else") == 0
        assert faults.cut_watches(path="widgets", agent="probe") == 1
        with pytest.raises(aiohttp.ClientError):
            await next_event()
    await devcluster.must("DELETE", f"{devcluster.widgets}/a")
    api_server.store.compact()
    async with devcluster.watch(devcluster.widgets, resourceVersion=version) as next_event:
        kind, status = await next_event()
        assert (kind, status["code"], status["reason"]) == ("ERROR", 410, "Expired")
        assert await next_event() is None


async def test_the_url_is_a_secret(devcluster: ApiCluster, api_server: ApiServer) -> None:
    root = api_server.url.rpartition("/")[0]
    async with aiohttp.ClientSession() as session, session.get(f"{root}/api/v1/namespaces") as response:
        assert response.status == 401


async def test_bookmarks_end_the_initial_events(devcluster: ApiCluster) -> None:
    await devcluster.must("POST", devcluster.widgets, widget("a"))
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    async with devcluster.watch(devcluster.widgets, **query) as next_event:
        assert (await next_event())[0] == "ADDED"
        kind, bookmark = await next_event()
    assert kind == "BOOKMARK"
    assert bookmark["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


LOG = [f"line {number}\n" for number in range(5)]
LOGS = {
    "whole": ({}, "".join(LOG)),
    "tail": ({"tailLines": "2"}, "".join(LOG[-2:])),
    "no lines": ({"tailLines": "0"}, ""),
    "bytes": ({"limitBytes": "4"}, "line"),
    "old": ({"sinceSeconds": "0"}, ""),
}


async def running_pod(cluster: ApiCluster, **status: object) -> str:
    """The path of a pod whose container has started."""
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    await cluster.must("POST", f"{cluster.core}/pods", {**body, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    started = {"name": "c", "state": {"running": {}}}
    patch = {"status": {"phase": "Running", "containerStatuses": [started], **status}}
    await cluster.must("PATCH", f"{cluster.core}/pods/p/status", patch, kind="application/merge-patch+json")
    return f"{cluster.core}/pods/p"


@pytest.mark.parametrize(("query", "text"), LOGS.values(), ids=LOGS)
async def test_logs(devcluster: ApiCluster, query: dict[str, str], text: str) -> None:
    path = await running_pod(devcluster)
    (devcluster.kubeconfig.parent / "p.log").write_text("".join(LOG))
    assert (await devcluster.request("GET", f"{path}/log", **query)).message == text


async def test_a_followed_log_ends_with_the_pod(devcluster: ApiCluster) -> None:
    path = await running_pod(devcluster)
    log = devcluster.kubeconfig.parent / "p.log"
    log.write_text("one\n")
    process = await devcluster.start_kubectl("logs", "-f", "p")
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"one\n"
        with log.open("a") as file:
            file.write("two\n")
        assert await process.stdout.readline() == b"two\n"
        done = {"status": {"phase": "Succeeded"}}
        await devcluster.must("PATCH", f"{path}/status", done, kind="application/merge-patch+json")
        assert await process.stdout.read() == b""
        assert await process.wait() == 0


NO_LOGS = {
    "no such container": ({"container": "z"}, "container z is not valid for pod p"),
    "previous": ({"previous": "true"}, 'previous terminated container "c" in pod "p" not found'),
}


@pytest.mark.parametrize(("query", "told"), NO_LOGS.values(), ids=NO_LOGS)
async def test_logs_that_there_are_not(devcluster: ApiCluster, query: dict[str, str], told: str) -> None:
    path = await running_pod(devcluster)
    answer = await devcluster.request("GET", f"{path}/log", **query)
    assert (answer.status, answer.message) == (400, told)
