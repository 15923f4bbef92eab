"""Bad days of a real control plane: the operator never ends in a loop, writes nothing twice, catches up by itself, and
`/readyz` says how it stands.

It reaches the API server through a gateway, which does to its requests what a server does on a bad day, and knows what
it wrote. etcd and API server are away for seconds where it would be a minute in life: nothing here waits for a
minute, and the longest pause between two tries (30 s) is reached by none of the two.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import job_life
from certificates import Authority
from footplate.devcluster.client import ApiClient
from footplate.devcluster.faults import Fault
from footplate.devcluster.node import Nodes
from footplate.errors import ApiError
from gateway import Gateway, rewritten
from job_life import Life, Operator, lived, problems
from realcluster.chart import NAMESPACE, RELEASE
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES, plane_with_chart
from realcluster.replica import Replica

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_assets() is None, reason=NEEDS_BINARIES),
]

CATCH_UP_SECONDS = 60.0
TAKE_OVER_SECONDS = 15.0
GONE_SECONDS = 15.0
NODES = 2
JOBS = f"/apis/footplate.dev/v1alpha1/namespaces/{job_life.NAMESPACE}/trainingjobs"
PODS = f"/api/v1/namespaces/{job_life.NAMESPACE}/pods"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who certifies the API server and its clients."""
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture(scope="module")
def fragile(authority: Authority) -> Iterator[ControlPlane]:
    """A control plane with the chart, for these tests alone: its servers are killed."""
    with plane_with_chart(authority=authority) as plane:
        plane.kubectl("create", "namespace", job_life.NAMESPACE)
        yield plane


@pytest.fixture
async def client(fragile: ControlPlane) -> AsyncIterator[ApiClient]:
    """For the test itself, past the gateway."""
    async with ApiClient(json.loads(fragile.kubeconfig_path.read_text())) as client:
        yield client


@pytest.fixture
async def gateway(fragile: ControlPlane) -> AsyncIterator[Gateway]:
    """Nothing goes through it twice."""
    async with Gateway(json.loads(fragile.kubeconfig_path.read_text())) as gateway:
        yield gateway
    assert rewritten(gateway.writes) == []


class World:
    """A cluster with nodes that only pretend, the operator behind its gateway, and what a user does."""

    def __init__(self, plane: ControlPlane, client: ApiClient, nodes: Nodes, gateway: Gateway) -> None:
        self.plane = plane
        self.client = client
        self.nodes = nodes
        self.gateway = gateway

    async def apply(self, name: str) -> None:
        """A job of two pods that run until somebody ends them."""
        trainer = {"image": "registry.example.com/trainer:1", "command": ["sleep", "600"]}
        spec = {"trainer": trainer, "nodes": NODES, "runPolicy": {"restartBackoffSeconds": 0}}
        job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}
        while not await self._takes(job):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.2)

    async def _takes(self, job: dict[str, Any]) -> bool:
        """False while an API server that has just started doesn't find the kind of its policies' parameters yet."""
        try:
            await self.client.request("POST", JOBS, job)
        except ApiError as error:
            if "failed to configure policy" not in str(error):
                raise
            return False
        return True

    async def runs(self, name: str, *, attempt: int = 0) -> bool:
        status = (await self.client.request("GET", f"{JOBS}/{name}")).get("status") or {}
        return (status.get("phase"), status.get("attempt")) == ("Running", attempt)

    async def catches_up(self, name: str, replica: Replica) -> float:
        """Seconds until a job that is applied now runs, and the operator calls itself ready."""
        began = time.monotonic()
        await self.apply(name)
        await until(lambda: self.runs(name), replica)
        await until(replica.is_ready, replica)
        return time.monotonic() - began

    async def clean_up(self) -> None:
        """Leaves nothing to the next test."""
        for job in (await self.client.request("GET", JOBS))["items"]:
            await self.client.request("DELETE", f"{JOBS}/{job['metadata']['name']}")
        await until(self.has_only())

    def has_only(self, *pods: str) -> Callable[[], Coroutine[Any, Any, bool]]:
        """A condition: these pods are there, and no other."""

        async def holds() -> bool:
            found = (await self.client.request("GET", PODS))["items"]
            return sorted(each["metadata"]["name"] for each in found) == sorted(pods)

        return holds


async def until(
    holds: Callable[[], Coroutine[Any, Any, bool]], replica: Replica | None = None, *, seconds: float = CATCH_UP_SECONDS
) -> None:
    deadline = time.monotonic() + seconds
    while not await holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {replica.tail() if replica else ''}"
        await asyncio.sleep(0.1)


@pytest.fixture
async def world(fragile: ControlPlane, client: ApiClient, gateway: Gateway, tmp_path: Path) -> AsyncIterator[World]:
    kubeconfig = json.loads(fragile.kubeconfig_path.read_text())
    async with Nodes(kubeconfig, tmp_path / "nodes", count=NODES, pretend=True) as nodes:
        world = World(fragile, client, nodes, gateway)
        yield world
        await world.clean_up()


@pytest.fixture
async def replica(world: World, tmp_path: Path) -> AsyncIterator[Replica]:
    """One replica behind the gateway with the rights of the chart; the job `before` runs."""
    async with Replica(log_in(world, tmp_path), tmp_path / "operator.log") as replica:
        await world.catches_up("before", replica)
        yield replica
        assert replica.silent == []
        assert await world.runs("before")


def log_in(world: World, folder: Path) -> Path:
    config = json.loads(world.plane.log_in(RELEASE, namespace=NAMESPACE, folder=folder).read_text())
    return world.gateway.kubeconfig(folder / "gateway.kubeconfig", token=config["users"][0]["user"]["token"])


def slow(gateway: Gateway) -> None:
    gateway.faults.add(Fault(delay=1.0))


def unreliable(gateway: Gateway) -> None:
    for fault in (Fault(status=429, retry_after=1), Fault(status=500), Fault(cut="before"), Fault(cut="after")):
        gateway.faults.add(fault, rate=0.0125)


async def no_watch_lasts(gateway: Gateway) -> None:
    while True:
        await asyncio.sleep(0.7)
        gateway.faults.cut_watches()


@pytest.mark.parametrize(
    ("ahead", "harm"),
    [
        pytest.param(0, slow, id="a second a call"),
        pytest.param(0, unreliable, id="5 % of all requests fail"),
        pytest.param(0, no_watch_lasts, id="no watch lasts a second"),
        pytest.param(300, None, id="clock 5 minutes ahead"),
        pytest.param(-300, None, id="clock 5 minutes behind"),
    ],
)
async def test_a_life_on_bad_days(
    fragile: ControlPlane,
    client: ApiClient,
    gateway: Gateway,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ahead: float,
    harm: Callable[[Gateway], Coroutine[Any, Any, None] | None] | None,
) -> None:
    monkeypatch.setattr(job_life, "DEADLINE_SECONDS", 180.0)
    kubeconfig = gateway.kubeconfig(tmp_path / "kubeconfig", token=fragile.token)
    log, life = tmp_path / "operator.log", Life()
    operator = Operator(kubeconfig, namespaces=(job_life.NAMESPACE,), log=log)
    operator.set_clock_ahead(ahead)
    going_on = harm(gateway) if harm else None
    task = asyncio.create_task(going_on) if going_on else None
    nodes = Nodes(json.loads(fragile.kubeconfig_path.read_text()), tmp_path, count=NODES, pretend=True)
    try:
        async with nodes, lived(client, nodes, operator, life):
            pass
    finally:
        if task:
            task.cancel()
    await client.request("DELETE", job_life.JOB)
    assert problems(life) == []
    assert log.read_text().count('"event": "listening"') == 1, "it ended"


@pytest.mark.parametrize("server", ["kube-apiserver", "etcd"])
async def test_a_server_is_gone_for_a_while(world: World, replica: Replica, server: str) -> None:
    world.plane.kill_server(server)
    # The leader can't renew its lease, and ends; what is started in its place waits, and says so.
    await until(replica.has_ended, replica)
    await until(replica.is_alive, replica)
    assert not await replica.is_ready()
    await asyncio.sleep(GONE_SECONDS)
    assert await replica.is_alive()
    assert not await replica.is_ready()
    world.plane.start_server(server)
    await asyncio.to_thread(world.plane.wait_until_ready)
    seconds = await world.catches_up("after", replica)
    print(f"{server} back -> a new job runs: {seconds:.1f} s")
    assert replica.ends == 1


async def test_what_happened_in_a_gap_is_noticed_though_the_server_has_forgotten_it(
    world: World, tmp_path: Path
) -> None:
    gone = Fault(cut="before")
    async with Replica(log_in(world, tmp_path), tmp_path / "operator.log", "--no-leader-election") as replica:
        for name in ("before", "deleted"):
            await world.catches_up(name, replica)
        world.gateway.faults.add(gone)
        world.gateway.faults.cut_watches()
        await world.client.request("DELETE", f"{JOBS}/deleted")
        await world.client.request("DELETE", f"{PODS}/before-1-0-1")
        await until(world.has_only("before-1-0-0"))
        world.plane.kill_server("kube-apiserver")
        world.plane.forget()
        world.plane.start_server("kube-apiserver")
        await asyncio.to_thread(world.plane.wait_until_ready)
        world.gateway.faults.clear()
        began = time.monotonic()
        await until(lambda: world.runs("before", attempt=1), replica)
        await until(lambda: replica.knows(1), replica)
        print(f"all of the gap known after {time.monotonic() - began:.1f} s")
        assert (replica.ends, replica.silent) == (0, [])


async def test_a_token_is_revoked_and_another_comes_later(world: World, tmp_path: Path) -> None:
    def token(secret: str) -> str:
        world.plane.kubectl("create", "secret", "generic", secret, "-n", NAMESPACE)
        bound = (f"--bound-object-name={secret}", "--bound-object-kind=Secret")
        return world.plane.kubectl("create", "token", RELEASE, "-n", NAMESPACE, *bound).stdout.strip()

    file = tmp_path / "token"
    file.write_text(token("first"))
    kubeconfig = world.gateway.kubeconfig(tmp_path / "kubeconfig", tokenFile=str(file))
    async with Replica(kubeconfig, tmp_path / "operator.log") as replica:
        await world.catches_up("before", replica)
        world.plane.kubectl("delete", "secret", "first", "-n", NAMESPACE)
        await until(lambda: replica.says("401 Unauthorized"), replica)
        await until(replica.has_ended, replica)
        await until(replica.is_alive, replica)
        assert not await replica.is_ready()
        file.write_text(token("second"))
        seconds = await world.catches_up("after", replica)
        print(f"another token -> a new job runs: {seconds:.1f} s")
        assert (replica.ends, replica.silent) == (1, [])


async def test_certificates_expire_and_are_renewed(world: World, authority: Authority, tmp_path: Path) -> None:
    user = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
    certificate, key = authority.issue_pair("operator", subject=user, days=0)
    kubeconfig = tmp_path / "kubeconfig"
    users = [{"name": "operator", "user": {"client-certificate": str(certificate), "client-key": str(key)}}]
    config = json.loads(world.plane.kubeconfig_path.read_text()) | {"users": users}
    config["contexts"][0]["context"]["user"] = "operator"
    kubeconfig.write_text(json.dumps(config))
    async with Replica(kubeconfig, tmp_path / "operator.log") as replica:
        await until(lambda: replica.says("401 Unauthorized"), replica)
        assert not await replica.is_ready()
        authority.issue_pair("operator", subject=user)
        seconds = await world.catches_up("before", replica)
        print(f"another client certificate -> a new job runs: {seconds:.1f} s")
        assert replica.ends == 0

        world.plane.kill_server("kube-apiserver")
        authority.issue_pair("server", days=0)
        world.plane.start_server("kube-apiserver")
        await until(lambda: replica.says("certificate has expired"), replica)
        await until(replica.has_ended, replica)
        authority.issue_pair("server")
        await asyncio.to_thread(world.plane.wait_until_ready)
        seconds = await world.catches_up("after", replica)
        print(f"another server certificate -> a new job runs: {seconds:.1f} s")
        assert (replica.ends, replica.silent) == (1, [])


@pytest.fixture
async def pair(world: World, tmp_path: Path) -> AsyncIterator[tuple[Replica, Replica, Gateway]]:
    """A leader, a standby, and the standby's own gateway."""
    async with Gateway(json.loads(world.plane.kubeconfig_path.read_text())) as gateway:
        kubeconfig = log_in(world, tmp_path)
        async with Replica(kubeconfig, tmp_path / "leader.log") as leader:
            await until(leader.leads, leader)
            user = json.loads(kubeconfig.read_text())["users"][0]["user"]
            kubeconfig = gateway.kubeconfig(tmp_path / "standby.kubeconfig", **user)
            async with Replica(kubeconfig, tmp_path / "standby.log") as standby:
                await until(standby.is_ready, standby)
                yield leader, standby, gateway
                assert standby.ends == 0
    assert rewritten(world.gateway.writes + gateway.writes) == []


async def test_a_leader_that_loses_its_lease_stops_writing_before_another_takes_it(
    world: World, pair: tuple[Replica, Replica, Gateway]
) -> None:
    _, standby, gateway = pair
    names = ["before"]
    await world.apply("before")

    async def apply_for_ever() -> None:
        while True:
            await world.apply(f"job-{len(names)}")
            names.append(f"job-{len(names)}")
            await asyncio.sleep(0.3)

    applying = asyncio.create_task(apply_for_ever())
    await until(lambda: world.runs("before"))
    world.gateway.faults.add(Fault(delay=3600.0), path="/leases/")
    await until(standby.leads, standby)
    applying.cancel()
    for name in names:
        await until(lambda name=name: world.runs(name), standby)  # type: ignore[misc]
    taken = min(each.at for each in gateway.writes if "/leases/" in each.path)
    last = max(each.ended for each in world.gateway.writes)
    print(f"the last write came {taken - last:.1f} s before the lease was taken")
    assert last < taken


async def test_a_standby_acts_soon_after_its_leader_was_killed(
    world: World, pair: tuple[Replica, Replica, Gateway]
) -> None:
    leader, standby, _ = pair
    await world.apply("before")
    await until(lambda: world.runs("before"), leader)
    await leader.kill()
    seconds = await world.catches_up("after", standby)
    print(f"leader killed -> the standby's job runs: {seconds:.1f} s")
    assert seconds < TAKE_OVER_SECONDS
    assert await world.runs("before")
