"""The operator's machinery against the devcluster's API server: start, faults, restart, takeover, shutdown."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from crds import install_crds
from footplate.api.scalars import format_time
from footplate.contract import METRICS_PORT, Progress
from footplate.devcluster.client import ApiClient
from footplate.devcluster.faults import Fault, Request
from footplate.devcluster.server import ApiServer
from footplate.operator import OperatorSettings, run_operator

pytestmark = pytest.mark.integration

CORE = "/api/v1/namespaces/default"
JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/footplate-system/leases"
NODES = 4


class Bench:
    """A cluster, what the operator has written to it, and a client for the test."""

    def __init__(self, server: ApiServer, client: ApiClient, kubeconfig: Path) -> None:
        self.server = server
        self.client = client
        self.kubeconfig = kubeconfig
        self.writes: list[str] = []
        server.faults.on_write(self._note)

    def _note(self, request: Request) -> Fault | None:
        if request.agent.startswith("footplate-operator") and "/leases" not in request.path:
            self.writes.append(f"{request.method} {request.path}")
        return None

    async def make(self, kind: str, name: str) -> None:
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
        await self.client.request("POST", f"/api/v1/{kind.lower()}s", body)

    async def apply(self, name: str = "job", **spec: Any) -> None:
        trainer = {"image": "registry.example.com/trainer:1", "command": ["true"]}
        job = {
            "apiVersion": "footplate.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": name},
            "spec": {"trainer": trainer, "nodes": NODES, **spec},
        }
        await self.client.request("POST", JOBS, job)

    async def job(self, name: str = "job") -> dict[str, Any]:
        job: dict[str, Any] = await self.client.request("GET", f"{JOBS}/{name}")
        return job

    async def pods(self, job: str = "job") -> list[dict[str, Any]]:
        found = await self.client.request("GET", f"{CORE}/pods?labelSelector=footplate.dev/job={job}")
        return list(found["items"])

    async def until_created(self, name: str = "job", *, nodes: int = NODES) -> None:
        async def created() -> bool:
            status = (await self.job(name)).get("status") or {}
            return (status.get("nodes") or {}).get("created") == nodes

        await until(created, state=lambda: self.job(name))

    @asynccontextmanager
    async def operator(self, **options: Any) -> AsyncIterator[None]:
        settings = OperatorSettings(
            kubeconfig=str(self.kubeconfig), **{"host": "127.0.0.1", "port": 0, "leader_election": False, **options}
        )
        task = asyncio.create_task(run_operator(settings))
        try:
            yield
            assert not task.done(), f"the operator ended by itself: {task}"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(condition: Callable[[], Any], *, seconds: float = 30.0, state: Callable[[], Any] | None = None) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not await condition():
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"not within {seconds} s; state: {await state() if state else None}")
        await asyncio.sleep(0.02)


async def probe(port: int, path: str) -> tuple[int, str]:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            return response.status, await response.text()
    except aiohttp.ClientConnectionError:
        return 0, ""


def free_port() -> int:
    import socket

    with socket.socket() as each:
        each.bind(("127.0.0.1", 0))
        port: int = each.getsockname()[1]
        return port


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Bench]:
    """A cluster without the CRDs."""
    async with ApiServer() as server, ApiClient(server.kubeconfig()) as client:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump(server.kubeconfig()))
        bench = Bench(server, client, kubeconfig)
        await bench.make("Namespace", "footplate-system")
        yield bench


@pytest.fixture
async def bench(bare: Bench) -> Bench:
    await install_crds(bare.client)
    return bare


async def test_a_job_becomes_a_gang_and_kopf_writes_nothing(bench: Bench) -> None:
    async with bench.operator():
        await bench.apply()
        await bench.until_created()
    job = await bench.job()
    pods = await bench.pods()
    assert sorted(pod["metadata"]["name"] for pod in pods) == [f"job-1-0-{rank}" for rank in range(NODES)]
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {job["metadata"]["uid"]}
    assert not {"annotations", "finalizers"} & job["metadata"].keys()
    touched = Counter(write.split("?")[0] for write in bench.writes if "/events" not in write)
    assert touched.pop(f"PATCH {JOBS}/job/status") <= 4
    assert touched == {f"POST {CORE}/configmaps": 1, f"POST {CORE}/services": 1, f"POST {CORE}/pods": NODES}


async def test_an_operator_that_starts_again_writes_nothing(bench: Bench) -> None:
    async with bench.operator():
        for number in range(5):
            await bench.apply(f"job-{number}")
        for number in range(5):
            await bench.until_created(f"job-{number}")
    bench.writes.clear()
    port = free_port()
    async with bench.operator(port=port):
        await until(lambda: is_ready(port), state=lambda: probe(port, "/readyz"))
        await until(lambda: has_settled(port, 5), state=lambda: probe(port, "/metrics"))
    assert bench.writes == []


async def is_ready(port: int) -> bool:
    return (await probe(port, "/readyz"))[0] == 200


async def has_settled(port: int, jobs: int) -> bool:
    _, text = await probe(port, "/metrics")
    metric = 'footplate_reconciliations_total{result="settled"} '
    counts = [line.removeprefix(metric) for line in text.splitlines() if line.startswith(metric)]
    return sum(map(float, counts)) >= jobs


async def test_without_crds_it_waits_and_says_so(bare: Bench) -> None:
    port = free_port()
    async with bare.operator(port=port):
        await until(lambda: is_alive(port))
        status, text = await probe(port, "/readyz")
        assert (status, "trainingjobs: not listed yet" in text) == (503, True)
        await install_crds(bare.client)
        await until(lambda: is_ready(port), state=lambda: probe(port, "/readyz"))
        await bare.apply()
        await bare.until_created()


async def is_alive(port: int) -> bool:
    return (await probe(port, "/livez"))[0] == 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault(status=500), id="500"),
        pytest.param(Fault(status=429, retry_after=1), id="429"),
        pytest.param(Fault(status=409), id="409"),
        pytest.param(Fault(cut="before"), id="cut before"),
        pytest.param(Fault(cut="after"), id="answer lost"),
        pytest.param(Fault(delay=0.3), id="slow"),
    ],
)
async def test_faults_change_nothing_in_the_end(bench: Bench, fault: Fault) -> None:
    # Nothing but a write is answered with 409.
    method = "POST|PATCH|DELETE" if fault.status == 409 else ""
    bench.server.faults.add(fault, method=method, agent="footplate-operator", rate=0.2)
    async with bench.operator():
        for number in range(4):
            await bench.apply(f"job-{number}")
        for number in range(4):
            await bench.until_created(f"job-{number}")
    for number in range(4):
        assert len(await bench.pods(f"job-{number}")) == NODES
        assert (await bench.job(f"job-{number}"))["status"]["attempt"] == 0


async def test_pods_deleted_while_nobody_watched_end_the_attempt(bench: Bench) -> None:
    async with bench.operator():
        await bench.apply(runPolicy={"restartBackoffSeconds": 0})
        await bench.until_created()
        bench.server.faults.add(Fault(status=410), method="GET", path="/api/v1/pods.*watch=", nth=1)
        bench.server.faults.cut_watches(path="/api/v1/pods")
        await bench.client.request("DELETE", f"{CORE}/pods/job-1-0-2")

        async def restarted() -> bool:
            return bool((await bench.job())["status"]["attempt"] == 1)

        await until(restarted, state=bench.job)
        await bench.until_created()


async def test_a_runtime_that_comes_late_wakes_the_job(bench: Bench) -> None:
    async with bench.operator():
        await bench.apply(runtimeRef={"name": "late"})

        async def waits() -> bool:
            return ((await bench.job()).get("status") or {}).get("reason") == "RuntimeNotFound"

        await until(waits, state=bench.job)
        runtime = {"kind": "ClusterTrainingRuntime", "metadata": {"name": "late"}, "spec": {}}
        path = "/apis/footplate.dev/v1alpha1/clustertrainingruntimes"
        await bench.client.request("POST", path, {"apiVersion": "footplate.dev/v1alpha1", **runtime})
        await bench.until_created()


async def test_only_the_namespaces_asked_for_are_served(bench: Bench) -> None:
    async with bench.operator(namespaces=("elsewhere",)):
        await bench.make("Namespace", "elsewhere")
        await bench.apply()
        job = {**(await bench.job()), "metadata": {"name": "there", "namespace": "elsewhere"}}
        job.pop("status", None)
        await bench.client.request("POST", JOBS.replace("default", "elsewhere"), job)

        async def created() -> bool:
            found = await bench.client.request("GET", "/api/v1/namespaces/elsewhere/pods")
            return len(found["items"]) == NODES

        await until(created)
    assert await bench.pods() == []


async def test_progress_is_asked_of_rank_0(bench: Bench) -> None:
    """Of a pod whose clock is two hours ahead: status, columns, events and metrics tell of it as it is."""
    address, port, ahead = "127.9.46.4", free_port(), timedelta(hours=2)
    uid = ""
    curve = {"steps": [0, 42], "metrics": {"loss": [2.5, 0.5]}}

    async def answer(request: web.Request) -> web.Response:
        now = datetime.now(UTC) + ahead
        said = {"step": 42, "totalSteps": 100, "percent": 42.0, "etaSeconds": 90, "history": curve}
        progress = Progress.model_validate(
            {"uid": uid, "run": 1, "attempt": 0, "activity": "training", "progress": {**said, "lastStepTime": stepped}}
        )
        headers = {"Date": format_datetime(now, usegmt=True)}
        return web.Response(text=progress.model_dump_json(by_alias=True), headers=headers)

    stepped = format_time(datetime.now(UTC) + ahead)

    app = web.Application()
    app.router.add_get("/progress", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, address, METRICS_PORT).start()
        async with bench.operator(poll_interval=0.1, port=port):
            await bench.apply(nodes=1)
            await bench.until_created(nodes=1)
            uid = (await bench.job())["metadata"]["uid"]
            await run_pod(bench, "job-1-0-0", address)

            async def progressed() -> bool:
                return bool(((await bench.job())["status"].get("progress") or {}).get("step") == 42)

            await until(progressed, state=bench.job)
            status = (await bench.job())["status"]
            assert status["progress"]["history"] == curve
            stepped_ago = datetime.now(UTC) - datetime.fromisoformat(status["progress"]["lastStepTime"])
            assert abs(stepped_ago.total_seconds()) < 100
            assert status["message"] == "1 of 1 nodes running, step 42 of 100 (42.0 %), 1m30s left"
            cells = await columns(bench)
            assert [cells[name] for name in ("PHASE", "STEP", "PROGRESS", "ETA")] == ["Running", 42, 42, "1m30s"]
            assert cells["SINCE"].endswith("s")
            _, text = await probe(port, "/metrics")
            for what in ("first_step", "pods_created"):
                assert f"footplate_{what}_duration_seconds_count 1.0" in text
            assert 'footplate_jobs{namespace="default",phase="Running"} 1.0' in text

            async def told() -> bool:
                events = await bench.client.request("GET", "/apis/events.k8s.io/v1/namespaces/default/events")
                return "FirstStep" in {event["reason"] for event in events["items"]}

            await until(told)
    finally:
        await runner.cleanup()


async def test_a_job_that_is_deleted_pays_for_what_it_has_held(bench: Bench) -> None:
    """The metric is there at all: it is at 0 for a while, whatever was counted."""
    port = free_port()
    metric = 'footplate_charged_accelerator_seconds_total{charged_to="",namespace="default",resource="node"}'
    async with bench.operator(port=port):
        await bench.apply(nodes=1)
        await bench.until_created(nodes=1)
        await run_pod(bench, "job-1-0-0", "127.0.0.1")

        async def runs() -> bool:
            return bool((await bench.job())["status"]["phase"] == "Running")

        async def is_charged() -> bool:
            return metric in (await probe(port, "/metrics"))[1]

        await until(runs, state=bench.job)
        await asyncio.sleep(2)  # what it holds is counted in whole seconds
        assert not await is_charged()
        await bench.client.request("DELETE", f"{JOBS}/job")
        await until(is_charged, state=lambda: probe(port, "/metrics"))


async def columns(bench: Bench) -> dict[str, Any]:
    """What `kubectl get tj -o wide` shows of the only job."""
    async with aiohttp.ClientSession() as session:
        url = bench.server.url + JOBS
        headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        async with session.get(url, headers=headers) as response:
            table = await response.json()
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


async def run_pod(bench: Bench, name: str, address: str) -> None:
    """What scheduler and kubelet would do."""
    await bench.make("Node", "n1")
    condition = {"type": "Ready", "status": "True"}
    await merge(bench, "/api/v1/nodes/n1/status", {"status": {"conditions": [condition]}})
    target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
    await bench.client.request("POST", f"{CORE}/pods/{name}/binding", binding)
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    container = {"name": "trainer", "image": "", "imageID": "", "restartCount": 0, "ready": True, "state": state}
    conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Ready")]
    status = {"phase": "Running", "podIP": address, "conditions": conditions, "containerStatuses": [container]}
    await merge(bench, f"{CORE}/pods/{name}/status", {"status": status})


async def merge(bench: Bench, path: str, patch: Any) -> None:
    await bench.client.request("PATCH", path, patch, kind="application/merge-patch+json")


class Replica:
    """An operator in a process of its own."""

    def __init__(self, bench: Bench, *command: str) -> None:
        self.bench = bench
        self.port = free_port()
        self.command = command

    async def __aenter__(self) -> "Replica":
        options = f"kubeconfig={str(self.bench.kubeconfig)!r}, host='127.0.0.1', port={self.port}"
        code = f"from footplate.cli.operator import operator as run; run({options})"
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(self.command or ("-c", code)),
            env={
                **os.environ,
                "KUBECONFIG": str(self.bench.kubeconfig),
                "FOOTPLATE_OPERATOR_PORT": str(self.port),
                "FOOTPLATE_OPERATOR_HOST": "127.0.0.1",
            },
            stderr=asyncio.subprocess.PIPE,
        )
        self.log = b""
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log += line

    async def end(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return await asyncio.wait_for(self.process.wait(), 20)

    async def leads(self) -> bool:
        return "\nfootplate_leader 1.0" in (await probe(self.port, "/metrics"))[1]

    async def tail(self) -> str:
        return self.log.decode()[-3000:]

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        await self._reader


@pytest.mark.parametrize(
    ("how", "seconds"),
    [pytest.param(signal.SIGKILL, 15.0, id="killed"), pytest.param(signal.SIGTERM, 5.0, id="asked to stop")],
)
async def test_a_standby_takes_over_in_time_and_makes_nothing_twice(
    bench: Bench, how: signal.Signals, seconds: float
) -> None:
    async with Replica(bench) as first:
        await until(first.leads, state=first.tail)
        async with Replica(bench) as second:
            await until(lambda: is_ready(second.port), state=second.tail)
            assert not await second.leads()
            await bench.apply()
            await bench.until_created()
            code = await first.end(how)
            assert code == (0 if how == signal.SIGTERM else -how), await first.tail()
            await until(second.leads, seconds=seconds, state=second.tail)
            await bench.apply("another")
            await bench.until_created("another")
    posts = Counter(write for write in bench.writes if write.startswith(f"POST {CORE}/pods"))
    assert posts.total() == 2 * NODES


async def test_a_leader_without_its_lease_ends(bench: Bench) -> None:
    async with Replica(bench) as replica:
        await until(replica.leads, state=replica.tail)
        await merge(bench, f"{LEASES}/footplate-operator", {"spec": {"holderIdentity": "somebody-else"}})
        assert await asyncio.wait_for(replica.process.wait(), 20) == 1
        assert "is held by 'somebody-else'" in await replica.tail()


async def test_kopf_run_is_the_same_operator(bench: Bench) -> None:
    async with Replica(bench, "-m", "kopf", "run", "-A", "-m", "footplate.operator") as replica:
        await bench.apply()
        await bench.until_created()
        assert await replica.end(signal.SIGTERM) == 0, await replica.tail()
    lease = await bench.client.request("GET", f"{LEASES}/footplate-operator")
    assert not lease["spec"]["holderIdentity"]


def refuse_to_start(**_: Any) -> Any:
    """As kopf did where its user had no name."""
    raise KeyError("getpwuid(): uid not found: 10001")


async def test_a_kopf_that_never_starts_is_tried_with_pauses_and_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def fail(**_: Any) -> Any:
        nonlocal tries
        tries += 1
        refuse_to_start()

    monkeypatch.setattr("kopf.spawn_tasks", fail)
    port = free_port()
    async with bench.operator(port=port):

        async def said() -> bool:
            return "kopf: is started anew" in (await probe(port, "/readyz"))[1]

        await until(said, state=lambda: probe(port, "/readyz"))
        assert "uid not found: 10001" in (await probe(port, "/readyz"))[1]
        await asyncio.sleep(5)
        assert (await probe(port, "/livez"))[0] == 200
        assert (await probe(port, "/readyz"))[0] == 503
    assert 2 <= tries <= 7, "the first pauses are of 0.5 to 1, 1 to 2 and 2 to 4 s"


# kopf's watchers that SIGTERM meets before their first step are coroutines that nobody has begun.
@pytest.mark.filterwarnings("ignore:coroutine 'watcher' was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <coroutine object watcher:pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize("where", ["waiting for CRDs", "between two tries", "at work"])
async def test_sigterm_ends_it_at_once_wherever_it_is(bare: Bench, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if where != "waiting for CRDs":
        await install_crds(bare.client)
    if where == "between two tries":
        monkeypatch.setattr("kopf.spawn_tasks", refuse_to_start)
        monkeypatch.setattr("footplate.operator._FIRST_PAUSE", 60.0)
    port = free_port()
    settings = OperatorSettings(kubeconfig=str(bare.kubeconfig), host="127.0.0.1", port=port)
    task = asyncio.create_task(run_operator(settings))
    awaited = {"waiting for CRDs": "crds: not installed", "between two tries": "kopf: is started anew", "at work": "ok"}

    async def is_there() -> bool:
        return awaited[where] in (await probe(port, "/readyz"))[1]

    await until(is_there, state=lambda: probe(port, "/readyz"))
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(task, 5)
