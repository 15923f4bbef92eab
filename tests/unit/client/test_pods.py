"""What the client reads of pods: logs, progress, ranks; with pods that lie, hang and write anything."""

import asyncio
import gzip
import math
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from client_site import Site, condition
from footplate.client import (
    Client,
    ClientError,
    ClusterUnreachable,
    JobDeleted,
    LogLine,
    LogsNotFound,
    NotAllowed,
    checkpoints,
    logs,
    stored,
)
from footplate.contract import METRICS_PORT, TOKEN_HEADER
from footplate.devcluster.client import MERGE
from footplate.devcluster.faults import Fault
from footplate.records import Line, write_line
from footplate_trainer.storage.store import Store

PODS = "/api/v1/namespaces/default/pods"


def make_pod(
    site: Site, job: dict[str, Any], rank: int = 0, *, attempt: int = 0, env: Any = (), **status: Any
) -> dict[str, Any]:
    """A pod of the job's gang."""
    metadata = job["metadata"]
    labels = {"job": metadata["name"], "job-uid": metadata["uid"], "run": "1", "attempt": str(attempt)}
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": metadata["name"], "uid": metadata["uid"]}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-1-{attempt}-{rank}",
            "labels": {f"footplate.dev/{name}": value for name, value in {**labels, "rank": str(rank)}.items()},
            "ownerReferences": [{**owner, "controller": True}],
        },
        "spec": {"nodeName": f"node-{rank}", "containers": [{"name": "trainer", "image": "x", "env": list(env)}]},
    }
    site.request("POST", PODS, pod)
    return say_of_pod(site, pod["metadata"]["name"], **status) if status else pod  # type: ignore[index]


def say_of_pod(site: Site, name: str, **status: Any) -> dict[str, Any]:
    return site.request("PATCH", f"{PODS}/{name}/status", {"status": status}, kind=MERGE)


def running(**rest: Any) -> dict[str, Any]:
    state = {"name": "trainer", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}, "ready": True}
    return {"phase": "Running", "containerStatuses": [state], **rest}


def ended(code: int, **rest: Any) -> dict[str, Any]:
    terminated = {"exitCode": code, "finishedAt": "2026-01-01T00:00:00Z", **rest}
    return {
        "phase": "Failed" if code else "Succeeded",
        "containerStatuses": [{"name": "trainer", "state": {"terminated": terminated}}],
    }


def write(site: Site, pod: str, data: bytes) -> None:
    with (site.folder / f"{pod}.log").open("ab") as file:
        file.write(data)


def status_of(nodes: int, **rest: Any) -> dict[str, Any]:
    return {"phase": "Running", "run": 1, "attempt": 0, "attempts": [{"attempt": 0, "nodes": nodes}], **rest}


@pytest.fixture(autouse=True)
def quick(site: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Followers look often; logs of other tests are gone."""
    monkeypatch.setattr(logs, "_POLL_SECONDS", 0.05)
    yield
    for log in site.folder.glob("*.log"):
        log.unlink()


def test_logs_of_all_nodes_or_one_or_their_ends(site: Site, client: Client) -> None:
    job = site.create("a", nodes=2)
    site.say("a", **status_of(2))
    for rank in range(2):
        make_pod(site, job, rank, **running())
        write(site, f"a-1-0-{rank}", b"\x1b[31mfirst\x1b[0m of %d\nlast" % rank)
    found = client.get("a")
    assert [*found.logs()] == [LogLine(rank, 0, text) for rank in range(2) for text in (f"first of {rank}", "last")]
    assert [*found.logs(1, tail=1)] == [LogLine(1, 0, "last")]
    with pytest.raises(ClientError, match="rank: 2 is none of attempt 0, whose nodes have ranks 0 to 1"):
        next(found.logs(2))


def test_a_pod_that_is_gone_is_named_where_the_others_speak(site: Site, client: Client) -> None:
    job = site.create("a", nodes=2)
    site.say("a", **status_of(2))
    make_pod(site, job, 1, **running())
    write(site, "a-1-0-1", b"here\n")
    first, last = client.get("a").logs()
    assert first == LogLine(1, 0, "here")
    assert last.text.startswith('… no log of this pod: 404 NotFound: pods "a-1-0-0" not found')
    with pytest.raises(LogsNotFound, match="neither output nor checkpoint"):
        next(client.get("a").logs(0))


def test_the_log_of_the_node_that_failed(site: Site, client: Client) -> None:
    job = site.create("a", nodes=2, processesPerNode=4)
    with pytest.raises(ClientError, match="failed: no attempt of this run has failed"):
        next(client.get("a").logs(failed=True))
    attempts = [
        {"attempt": 0, "nodes": 2, "endTime": "2026-01-01T00:00:00Z", "reason": "UserError"},
        {"attempt": 1, "nodes": 2},
    ]
    failure = {"class": "User", "rank": 6, "message": "x"}
    site.say("a", phase="Running", run=1, attempt=1, attempts=attempts, failure=failure)
    for rank in range(2):
        make_pod(site, job, rank, **ended(1))
        write(site, f"a-1-0-{rank}", b"words of %d\n" % rank)
    assert [*client.get("a").logs(failed=True)] == [LogLine(1, 0, "words of 1")]


def test_lines_are_followed_through_attempts_to_the_end_of_the_run(site: Site, client: Client) -> None:
    job = site.create("a", nodes=1)
    site.say("a", **status_of(1))
    lines = client.get("a").logs(follow=True)
    threading.Timer(0.2, lambda: (write(site, "a-1-0-0", b"one\n"), make_pod(site, job, **running()))).start()
    assert next(lines) == LogLine(0, 0, "one")
    write(site, "a-1-0-0", b"two\n")
    assert next(lines) == LogLine(0, 0, "two")
    say_of_pod(site, "a-1-0-0", **ended(1))
    site.say("a", phase="Running", attempt=1, attempts=[{"attempt": 0, "nodes": 1}, {"attempt": 1, "nodes": 1}])
    write(site, "a-1-1-0", b"three\nend")
    make_pod(site, job, attempt=1, **running())
    assert next(lines) == LogLine(0, 1, "three")
    say_of_pod(site, "a-1-1-0", **ended(0))
    assert next(lines) == LogLine(0, 1, "end")
    site.say("a", phase="Succeeded", conditions=[condition("Finished")])
    assert [*lines] == []


def test_a_job_that_is_deleted_while_its_log_is_followed(site: Site, client: Client) -> None:
    site.create("a", nodes=1)
    lines = client.get("a").logs(follow=True)
    threading.Timer(0.2, lambda: site.delete("a")).start()
    with pytest.raises(JobDeleted):
        next(lines)


def test_a_follower_that_leaves_ends_the_streams(site: Site, client: Client) -> None:
    job = site.create("a", nodes=1)
    site.say("a", **status_of(1))
    make_pod(site, job, **running())
    write(site, "a-1-0-0", b"one\n")
    lines = client.get("a").logs(follow=True)
    assert next(lines).text == "one"
    lines.close()  # type: ignore[attr-defined]
    assert client.list()[0].name == "a"


def test_what_outlives_the_pods_is_read_from_storage(
    site: Site, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = site.create("a", nodes=2, output={"uri": "s3://models/a/"}, checkpoint={"uri": "s3://checkpoints/a/"})
    site.say("a", **status_of(2))
    opened: list[str] = []

    def open_store(connection: Any, spec: Any, uri: str, *, namespace: str) -> Store:
        opened.append(uri)
        return Store.open(f"file://{tmp_path}/{uri.partition('://')[2]}")

    for module in (stored, checkpoints):
        monkeypatch.setattr(module, "open_store", open_store)
    uid = job["metadata"]["uid"][:8]
    kept = Store.open(f"file://{tmp_path}/models/a/a/records-1-{uid}")
    kept.put("pods/attempt-00000000/node-00000.log.gz", gzip.compress(b"one\ntwo\n\x1b[31mthree"))
    kept.put("metrics/attempt-00000000.jsonl.gz", gzip.compress(write_line(Line(1.0, 5, None, {"loss": 0.5}))))
    saved = Store.open(f"file://{tmp_path}/checkpoints/a/a/run-1-{uid}")
    saved.put("step-00000007/manifest.json", b"{}")
    found = client.get("a")
    assert [line.text for line in found.logs(0)] == ["one", "two", "three"]
    assert [line.text for line in found.logs(0, tail=2)] == ["two", "three"]
    *texts, last = [line.text for line in found.logs()]
    assert texts == ["one", "two", "three"]
    assert last.startswith("… no log of this pod: 404 NotFound")
    assert last.endswith("in storage there is none …")
    assert found.history(full=True).metrics == {"loss": [0.5]}
    assert [view.step for view in found.checkpoints()] == [7]
    assert {uri.partition("://")[2] for uri in opened} == {
        f"models/a/a/records-1-{uid}",
        f"checkpoints/a/a/run-1-{uid}",
    }


def test_a_log_that_breaks_off_does_not_begin_anew_from_storage(
    site: Site, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.create("a", nodes=1, output={"uri": "s3://models/a/"})
    site.say("a", **status_of(1))

    async def break_off(*_: Any, **__: Any) -> AsyncIterator[list[str]]:
        yield ["one", "two"]
        raise ClusterUnreachable("no answer: the connection was cut")

    monkeypatch.setattr(logs, "_pod_log", break_off)
    monkeypatch.setattr(logs._Stored, "lines", lambda *_, **__: iter(["one", "two", "three"]))
    found = client.get("a").logs()
    assert [next(found).text, next(found).text] == ["one", "two"]
    with pytest.raises(ClusterUnreachable):
        next(found)


def test_missing_rights_on_logs_are_named(site: Site, client: Client) -> None:
    site.create("a", nodes=1)
    site.faults.add(Fault(status=403), path="/log")
    with pytest.raises(LogsNotFound, match=r"you may not get pods/log in namespace default"):
        next(client.get("a").logs())
    site.say("a", **status_of(1))
    with pytest.raises(NotAllowed):
        next(client.get("a").logs(follow=True))


def test_ranks_show_who_runs_who_is_slow_and_who_is_gone(site: Site, client: Client) -> None:
    job = site.create("a", nodes=6)
    stragglers = [{"rank": 0, "nodeRank": 0, "factor": 1.5}, {"rank": 1, "nodeRank": 0, "factor": 2.0}]
    attempt = {"attempt": 0, "nodes": 6, "succeededRanks": "5"}
    site.say("a", phase="Running", run=1, attempt=0, attempts=[attempt], stragglers=stragglers)
    make_pod(site, job, 0, **running())
    make_pod(site, job, 1, **ended(137, reason="OOMKilled"))
    waiting = {"reason": "ErrImagePull", "message": "\x1b[31mno such image"}
    make_pod(site, job, 2, phase="Pending", containerStatuses=[{"name": "trainer", "state": {"waiting": waiting}}])
    make_pod(site, job, 3, **ended(0))
    foreign = make_pod(site, site.create("b"), 4)
    site.request("PATCH", f"{PODS}/{foreign['metadata']['name']}", {"metadata": {"labels": {
        "footplate.dev/job": "a", "footplate.dev/job-uid": job["metadata"]["uid"]}}}, kind=MERGE)  # fmt: skip
    views = client.get("a").ranks()
    assert [(view.node_rank, view.state, view.slow, view.exit_code, view.reason) for view in views] == [
        (0, "running", 2.0, None, ""),
        (1, "failed", None, 137, "OOMKilled"),
        (2, "starting", None, None, "no such image"),
        (3, "succeeded", None, 0, ""),
        (4, "absent", None, None, "there is no such pod"),
        (5, "succeeded", None, 0, ""),
    ]
    assert (views[0].pod, views[0].node) == ("a-1-0-0", "node-0")


@contextmanager
def serving(site: Site, answer: Callable[[web.BaseRequest], Any]) -> Iterator[str]:
    """A pod's server; yields its address."""
    number = os.getpid()
    address = f"127.{100 + number % 100}.{number // 100 % 250}.{1 + number // 25_000 % 250}"

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, address, METRICS_PORT).start()
        return runner

    runner = site.loop.run(start())
    try:
        yield address
    finally:
        site.loop.run(runner.cleanup())


def progress(job: dict[str, Any], **rest: Any) -> dict[str, Any]:
    said = {"step": 9, "metrics": {"loss": 0.5}, "history": {"steps": [5, 9], "metrics": {"loss": [0.7, 0.5]}}}
    return {"uid": job["metadata"]["uid"], "run": 1, "attempt": 0, "progress": said, **rest}


async def _flood() -> AsyncIterator[bytes]:
    for _ in range(1_000):
        yield b"[" * (1 << 20)
        await asyncio.sleep(0)


LIES: dict[str, Callable[[dict[str, Any]], web.Response]] = {
    "another job": lambda job: web.json_response(progress(job, uid="other")),
    "another attempt": lambda job: web.json_response(progress(job, attempt=1)),
    "NaN": lambda job: web.json_response(progress(job, progress={"step": 9, "metrics": {"loss": math.nan}})),
    "a negative step": lambda job: web.json_response(progress(job, progress={"step": -1})),
    "a thousand metrics": lambda job: web.json_response(
        progress(job, progress={"metrics": {f"m{n}": 1.0 for n in range(1_000)}})
    ),
    "1 GB": lambda job: web.Response(body=_flood()),
    "no JSON": lambda job: web.Response(text="<html>"),
    "an error": lambda job: web.Response(status=500, text="x" * 100_000),
    "elsewhere": lambda job: web.Response(status=302, headers={"Location": "http://127.0.0.1:1/"}),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_pod_that_lies_of_its_progress_is_not_believed(site: Site, client: Client, lie: Any) -> None:
    job = site.create("a")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return lie(job)  # type: ignore[no-any-return]

    with serving(site, answer) as address:
        make_pod(site, job, **running(podIP=address))
        site.say("a", **status_of(1, progress={"step": 3}))
        began = time.monotonic()
        live = client.get("a").live()
        assert time.monotonic() - began < 4
    assert live is not None
    assert live.step == 3


def test_what_is_known_stays_until_a_new_attempts_pod_says_how_far_it_is(site: Site, client: Client) -> None:
    job = site.create("a")

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response(progress(job, progress={"metrics": {}}))

    with serving(site, answer) as address:
        make_pod(site, job, **running(podIP=address))
        site.say("a", **status_of(1, progress={"step": 3, "percent": 30.0}))
        live = client.get("a").live()
    assert live is not None
    assert (live.step, live.percent) == (3, 30.0)


def test_progress_is_the_pods_where_it_can_be_had(site: Site, client: Client) -> None:
    job = site.create("a")
    hangs = False
    said: dict[str, Any] = {}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.path == "/progress"
        if hangs:
            await asyncio.sleep(30)
        whole = progress(job)
        return web.json_response({**whole, "progress": {**whole["progress"], **said}})

    with serving(site, answer) as address:
        make_pod(site, job, **running(podIP=address))
        history = {"steps": [1, 5], "metrics": {"loss": [2.0, 1.0]}}
        site.say("a", **status_of(1, progress={"step": 3, "history": history}))
        live = client.get("a").live()
        assert live is not None
        assert live.step == 9
        assert live.history is not None
        assert (live.history.steps, live.history.metrics) == ([1, 5, 9], {"loss": [2.0, 0.7, 0.5]})
        said |= {"percent": 250.0, "etaSeconds": 10**12, "eta": "soon", "lastStepTime": "2999-01-01T00:00:00Z"}
        lie = client.get("a").live()
        assert lie is not None
        assert (lie.percent, lie.eta_seconds, lie.eta, lie.last_step_time) == (100.0, None, None, None)
        said |= {"step": None, "metrics": {}}  # as of a pod that has just started
        silent = client.get("a").live()
        assert silent == client.get("a").progress
        hangs, began = True, time.monotonic()
        stale = client.get("a").live()
        assert stale is not None
        assert stale.step == 3
        assert time.monotonic() - began < 6
    site.faults.add(Fault(status=403), path="proxy")
    assert client.get("a").live() == client.get("a").progress
    site.say("a", phase="Succeeded")
    assert client.get("a").live() == client.get("a").progress


def test_events_are_told_in_order_and_about_this_job_alone(site: Site, client: Client) -> None:
    job = site.create("a")
    for name, uid, at in (("x", job["metadata"]["uid"], 2), ("y", job["metadata"]["uid"], 1), ("z", "other", 3)):
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"kind": "TrainingJob", "name": "a", "namespace": "default", "uid": uid},
            "type": "Warning",
            "reason": "Reason",
            "message": f"\x1b[2Jof {name}",
            "count": at,
            "firstTimestamp": f"2026-01-01T00:00:0{at}Z",
            "lastTimestamp": f"2026-01-01T00:00:0{at}Z",
        }
        site.request("POST", "/api/v1/namespaces/default/events", event)
    assert [(event.message, event.count) for event in client.get("a").events()] == [("of y", 1), ("of x", 2)]
    assert "Reason (2 times): of x" not in client.get("a").why().facts  # nobody has seen the job yet
    site.say("a", phase="Pending")
    assert "Reason (2 times): of x" in client.get("a").why().facts
    site.faults.add(Fault(status=403), path="events")
    assert client.get("a").why().headline == "It waits."


def test_the_cluster_by_resource_namespace_and_job(site: Site, client: Client) -> None:
    limits = {"nvidia.com/gpu": "4", "memory": "1Gi"}
    job = site.create("a")
    usage = {"productiveSeconds": 90, "lostSeconds": 10, "goodputPercent": 90.0}
    site.say("a", **status_of(1, usage=usage))
    for namespace, name, labels in (
        ("default", "a-1-0-0", {"footplate.dev/job-uid": job["metadata"]["uid"]}),
        ("kube-system", "other", {}),
    ):
        containers = [{"name": "trainer", "image": "x", "resources": {"limits": limits}}]
        metadata = {"name": name, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        path = f"/api/v1/namespaces/{namespace}/pods"
        site.request("POST", path, {**pod, "spec": {"nodeName": "n", "containers": containers}})
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}}
    site.request("POST", "/api/v1/nodes", node)
    site.request("PATCH", "/api/v1/nodes/n/status", {"status": {"allocatable": {"nvidia.com/gpu": "16"}}}, kind=MERGE)
    view = client.cluster()
    [gpus] = view.resources
    assert (gpus.name, gpus.capacity, gpus.used, gpus.others, gpus.free) == ("nvidia.com/gpu", 16, 4, 4, 8)
    assert view.namespaces == {"default": {"nvidia.com/gpu": 4}}
    assert [(use.job, use.nodes, use.goodput_percent) for use in view.jobs] == [("a", 1, 90.0)]
    assert (view.goodput_percent, view.whole) == (90.0, True)
    site.faults.add(Fault(status=403), path=r"/v1/nodes|v1/pods|v1alpha1/trainingjobs")
    mine = client.cluster()
    assert mine.whole is False
    assert (mine.resources[0].used, mine.resources[0].capacity, mine.resources[0].free) == (4, None, None)
    site.faults.clear()
    site.request("DELETE", "/api/v1/nodes/n", gracePeriodSeconds=0)


def test_the_run_s_token_is_shown_to_its_pod_alone(site: Site, client: Client) -> None:
    """It goes through the API server, which keeps the user's own credentials to itself."""
    job, token, seen = site.create("a"), "ab" * 32, []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(dict(request.headers))
        good = request.headers.get(TOKEN_HEADER) == token
        return web.json_response(progress(job), status=200 if good else 401)

    with serving(site, answer) as address:
        env = [{"name": "FOOTPLATE_TOKEN", "value": token}]
        make_pod(site, job, env=env, **running(podIP=address))
        site.say("a", **status_of(1, progress={"step": 3}))
        live = client.get("a").live()
    assert live is not None
    assert live.step == 9
    assert [sorted({"Authorization", "Cookie"} & headers.keys()) for headers in seen] == [[]]
