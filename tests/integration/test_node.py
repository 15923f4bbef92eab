"""The nodes of the devcluster: pods become processes, and their ends become statuses."""

import asyncio
import base64
import signal
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from footplate.devcluster.client import ApiClient, Object
from footplate.devcluster.container import log_path
from footplate.devcluster.environment import pod_address
from footplate.devcluster.node import Nodes
from footplate.devcluster.server import ApiServer

pytestmark = pytest.mark.integration
SECONDS = 20
T = TypeVar("T")


@dataclass
class Bench:
    """An API server with nodes, and what tests do with them."""

    client: ApiClient
    nodes: Nodes
    namespace: str = "default"
    versions: dict[str, list[Object]] = field(default_factory=lambda: defaultdict(list))
    """Every version that each pod had, by its name."""
    gone: set[str] = field(default_factory=set)

    async def watch(self) -> None:
        async for kind, data in self.client.follow("/api/v1/pods"):
            for pod in data if kind == "LIST" else [data]:
                self.versions[pod["metadata"]["name"]].append(pod)
                if kind == "DELETED":
                    self.gone.add(pod["metadata"]["name"])

    async def create(self, kind: str, body: Mapping[str, Any]) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/{kind.lower()}s"
        await self.client.request("POST", path, {"apiVersion": "v1", "kind": kind, **body})

    async def run(
        self, name: str, command: list[str], *, spec: Mapping[str, Any] | None = None, **container: Any
    ) -> None:
        main = {"name": "main", "image": "any", "command": command, **container}
        pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [main], **(spec or {})}
        await self.create("Pod", {"metadata": {"name": name}, "spec": pod})

    async def python(self, name: str, code: str, **container: Any) -> None:
        await self.run(name, ["python", "-c", code], **container)

    async def get(self, name: str) -> Object:
        return await self.client.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    async def delete(self, name: str, **query: Any) -> None:
        await self.client.request("DELETE", f"/api/v1/namespaces/{self.namespace}/pods/{name}", **query)

    async def wait(self, name: str, test: Callable[[Object], bool]) -> Object:
        """The first version of a pod, past ones included, for which `test` holds; a missing part of it counts as no."""

        async def find() -> Object | None:
            return next((pod for pod in self.versions[name] if holds(test, pod)), None)

        return await eventually(find, lambda pod: pod is not None) or {}

    async def wait_phase(self, name: str, phase: str) -> Object:
        return await self.wait(name, lambda pod: pod["status"].get("phase") == phase)

    async def wait_gone(self, name: str) -> None:
        async def gone() -> bool:
            return name in self.gone

        await eventually(gone, bool)

    async def wait_log(self, name: str, text: str) -> str:
        log = log_path(self.nodes.host.folder, self.namespace, name, "main")

        async def read() -> str:
            return log.read_text() if log.exists() else ""

        return await eventually(read, lambda content: text in content)


def holds(test: Callable[[Object], bool], pod: Object) -> bool:
    try:
        return test(pod)
    except (KeyError, StopIteration):
        return False


async def eventually(read: Callable[[], Awaitable[T]], test: Callable[[T], bool]) -> T:
    """Reads until `test` holds; fails with what was read last."""
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not test(value := await read()):
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"after {SECONDS} s still {value}")
        await asyncio.sleep(0.02)
    return value


def state(pod: Object) -> Object:
    """What the main container is in, with its kind."""
    [(kind, details)] = pod["status"]["containerStatuses"][0]["state"].items()
    return {"kind": kind, **details}


def condition(pod: Object, kind: str) -> Object:
    return next(each for each in pod["status"]["conditions"] if each["type"] == kind)


def count_processes(pod: str) -> int:
    """Processes of this machine that were started by a pod of this name, whatever became of their parents."""
    count = 0
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            count += f"\0HOSTNAME={pod}\0".encode() in environment.read_bytes()
    return count


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer() as server:
        yield server


@asynccontextmanager
async def watched(bench: Bench) -> AsyncIterator[Bench]:
    watch = asyncio.create_task(bench.watch())
    try:
        yield bench
    finally:
        watch.cancel()
        await asyncio.wait({watch})


@pytest.fixture
async def bench(api: ApiServer, tmp_path: Path) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        kubeconfig = api.kubeconfig()
        client = await stack.enter_async_context(ApiClient(kubeconfig))
        capacity = {"nvidia.com/gpu": "2"}
        nodes = Nodes(kubeconfig, tmp_path, capacity=capacity, labels={"zone": "a"}, grace_seconds=0.2)
        async with watched(Bench(client, await stack.enter_async_context(nodes))) as bench:
            yield bench


async def test_nodes_are_ready_and_have_leases(bench: Bench) -> None:
    listed = await bench.client.request("GET", "/api/v1/nodes")
    assert [node["metadata"]["name"] for node in listed["items"]] == ["node-0", "node-1"]
    for node in listed["items"]:
        assert condition(node, "Ready")["status"] == "True"
        assert node["status"]["allocatable"]["nvidia.com/gpu"] == "2"
        assert node["metadata"]["labels"]["zone"] == "a"
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    leases = await eventually(lambda: bench.client.request("GET", path), lambda found: len(found["items"]) == 2)
    assert all(lease["spec"]["renewTime"] for lease in leases["items"])


async def test_a_pod_runs_and_succeeds(bench: Bench) -> None:
    await bench.python(
        "hello", "print('hello from', __import__('os').environ['WHO'])", env=[{"name": "WHO", "value": "me"}]
    )
    pod = await bench.wait_phase("hello", "Succeeded")
    assert await bench.wait_log("hello", "\n") == "hello from me\n"
    assert state(pod).items() >= {"kind": "terminated", "exitCode": 0, "reason": "Completed"}.items()
    assert pod["spec"]["nodeName"] in ("node-0", "node-1")
    assert pod["status"]["podIP"] == pod_address("default", "hello")
    assert condition(pod, "PodScheduled")["status"] == "True"
    assert condition(pod, "Ready").items() >= {"status": "False", "reason": "PodCompleted"}.items()


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [("raise SystemExit(75)", 75), ("import os; os.kill(os.getpid(), 11)", 139), ("1/0", 1)],
    ids=["code", "signal", "exception"],
)
async def test_exit_codes(bench: Bench, code: str, exit_code: int) -> None:
    await bench.python("bad", code)
    pod = await bench.wait_phase("bad", "Failed")
    assert state(pod).items() >= {"exitCode": exit_code, "reason": "Error"}.items()


async def test_termination_message_and_log_tail(bench: Bench) -> None:
    code = "import os; open(os.environ['OUT'], 'w').write('x' * 5000)"
    env = [{"name": "OUT", "value": "/dev/termination-log"}]
    await bench.python("says", code, env=env)
    await bench.python("cries", "raise SystemExit('no data')", terminationMessagePolicy="FallbackToLogsOnError")
    assert state(await bench.wait_phase("says", "Succeeded"))["message"] == "x" * 4096
    assert state(await bench.wait_phase("cries", "Failed"))["message"] == "no data\n"


async def test_environment_mounts_and_peers(bench: Bench) -> None:
    secret = {"metadata": {"name": "s3"}, "data": {"AWS_KEY": base64.b64encode(b"k").decode()}}
    await bench.create("Secret", secret)
    await bench.create("ConfigMap", {"metadata": {"name": "code"}, "data": {"train.py": "print(open(IN).read())"}})
    await bench.run(
        "rank-0",
        ["python", "-c", "import os, sys; print(dict(os.environ), open(sys.argv[1]).read())", "/code/train.py"],
        spec={
            "hostname": "rank-0",
            "subdomain": "gang",
            "volumes": [{"name": "code", "configMap": {"name": "code"}}, {"name": "out", "emptyDir": {}}],
        },
        envFrom=[{"secretRef": {"name": "s3"}}],
        env=[
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "METRICS", "value": "$(POD_IP):9464"},
            {"name": "MASTER_ADDR", "value": "rank-0.gang"},
            {"name": "OUT", "value": "/out/model"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s3", "key": "AWS_KEY"}}},
        ],
        volumeMounts=[{"name": "code", "mountPath": "/code"}, {"name": "out", "mountPath": "/out"}],
    )
    await bench.wait_phase("rank-0", "Succeeded")
    log = await bench.wait_log("rank-0", "print(open(IN)")
    address = pod_address("default", "rank-0")
    for expected in ("'AWS_KEY': 'k'", "'KEY': 'k'", f"'METRICS': '{address}:9464'", f"'MASTER_ADDR': '{address}'"):
        assert expected in log
    assert "/volumes/out/model'" in log


async def test_a_missing_secret_is_waited_for(bench: Bench) -> None:
    key = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "late", "key": "k"}}}
    await bench.python("needs", "pass", env=[key])
    pod = await bench.wait("needs", lambda pod: state(pod).get("reason") == "CreateContainerConfigError")
    assert state(pod)["message"] == 'secret "late" not found'
    assert pod["status"]["phase"] == "Pending"
    await bench.create("Secret", {"metadata": {"name": "late"}, "stringData": {"k": "v"}})
    await bench.wait_phase("needs", "Succeeded")


async def test_images_and_commands_that_are_not_there(bench: Bench) -> None:
    await bench.python("noimage", "pass", image="registry.example.com/trainer:missing")
    await bench.run("nocommand", ["no-such-program"])
    await bench.wait("noimage", lambda pod: state(pod).get("reason") == "ImagePullBackOff")
    failed = await bench.wait_phase("nocommand", "Failed")
    assert state(failed).items() >= {"exitCode": 128, "reason": "StartError"}.items()
    await bench.delete("noimage")
    await bench.wait_gone("noimage")


async def test_init_containers_run_first_and_in_order(bench: Bench) -> None:
    mount = {"volumeMounts": [{"name": "out", "mountPath": "/out"}], "image": "any"}
    steps = [{"name": f"step-{n}", "command": ["sh", "-c", f"echo {n} >> /out/steps"], **mount} for n in range(2)]
    spec = {"initContainers": steps, "volumes": [{"name": "out", "emptyDir": {}}]}
    await bench.run("staged", ["cat", "/out/steps"], spec=spec, volumeMounts=mount["volumeMounts"])
    await bench.wait_phase("staged", "Succeeded")
    assert await bench.wait_log("staged", "1") == "0\n1\n"
    steps[0]["command"] = ["false"]
    await bench.run("broken", ["true"], spec=spec)
    pod = await bench.wait_phase("broken", "Failed")
    assert state(pod)["kind"] == "waiting"
    assert condition(pod, "Initialized")["status"] == "False"


TRAP = """
import os, signal, subprocess, sys, time
def stop(*_):
    print("stopping", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("ready", flush=True)
time.sleep(600)
"""


async def test_deletion_asks_first_and_leaves_no_process(bench: Bench) -> None:
    await bench.python("gentle", TRAP)
    await bench.wait_log("gentle", "ready")
    assert count_processes("gentle") == 2
    await bench.delete("gentle")
    ending = await bench.wait("gentle", lambda pod: state(pod)["kind"] == "terminated")
    assert state(ending)["exitCode"] == 75
    await bench.wait_gone("gentle")
    assert count_processes("gentle") == 0


async def test_deletion_kills_what_does_not_listen(bench: Bench) -> None:
    await bench.python(
        "deaf", "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready'); time.sleep(600)"
    )
    await bench.wait_log("deaf", "ready")
    await bench.delete("deaf", gracePeriodSeconds=1)
    await bench.wait_gone("deaf")


async def test_forced_deletion_kills_at_once(bench: Bench) -> None:
    await bench.python("forced", TRAP)
    await bench.wait_log("forced", "ready")
    await bench.delete("forced", gracePeriodSeconds=0)
    await bench.wait_gone("forced")
    await eventually(lambda: asyncio.to_thread(count_processes, "forced"), lambda count: count == 0)


async def test_too_much_memory(bench: Bench) -> None:
    code = "import time; data = b'x' * 200_000_000; time.sleep(600)"
    await bench.python("greedy", code, resources={"limits": {"memory": "100Mi"}})
    pod = await bench.wait_phase("greedy", "Failed")
    assert state(pod).items() >= {"exitCode": 137, "reason": "OOMKilled"}.items()


async def test_a_frozen_pod_hangs_until_it_is_thawed(bench: Bench) -> None:
    await bench.python("ice", "import time\nfor n in range(10**6): print(n, flush=True); time.sleep(0.01)")
    await bench.wait_log("ice", "3")
    bench.nodes.freeze_pod("default", "ice")
    log = log_path(bench.nodes.host.folder, "default", "ice", "main")
    frozen = log.stat().st_size
    await asyncio.sleep(0.2)
    assert log.stat().st_size == frozen
    bench.nodes.thaw_pod("default", "ice")
    await eventually(lambda: asyncio.to_thread(log.stat), lambda stat: stat.st_size > frozen)
    bench.nodes.kill_pod("default", "ice", signal.SIGTERM)
    assert state(await bench.wait_phase("ice", "Failed"))["exitCode"] == 143


SERVER = """
import os, socket
with socket.create_server((os.environ['IP'], 9464)) as server:
    print('serves', flush=True)
    while True:
        connection, _ = server.accept()
        connection.recv(4096)
        connection.sendall(b'HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n')
        connection.close()
"""


async def test_a_container_that_answers_no_probe_is_killed(bench: Bench) -> None:
    probe = {
        "httpGet": {"path": "/healthz", "port": "metrics"},
        "periodSeconds": 1,
        "timeoutSeconds": 1,
        "failureThreshold": 3,
        "terminationGracePeriodSeconds": 1,
    }
    await bench.run(
        "frozen",
        ["python", "-I", "-S", "-c", SERVER],
        env=[{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        ports=[{"name": "metrics", "containerPort": 9464}],
        livenessProbe=probe,
    )
    await bench.wait_log("frozen", "serves")
    bench.nodes.kill_pod("default", "frozen", signal.SIGSTOP)
    pod = await bench.wait_phase("frozen", "Failed")
    assert state(pod).items() >= {"exitCode": 137, "reason": "Error"}.items()
    events = (await bench.client.request("GET", "/api/v1/namespaces/default/events"))["items"]
    said = {each["reason"]: each["message"] for each in events if each["involvedObject"]["name"] == "frozen"}
    assert said["Killing"] == "Container main failed liveness probe"
    assert "Liveness probe failed: Get" in said["Unhealthy"]
    assert count_processes("frozen") == 0


async def test_pods_wait_for_resources_and_gates(bench: Bench) -> None:
    gpus = {"resources": {"limits": {"nvidia.com/gpu": 2}}}
    for name in ("gpu-0", "gpu-1"):
        await bench.python(name, "import time; time.sleep(600)", **gpus)
        await bench.wait_phase(name, "Running")
    await bench.python("gpu-2", "pass", **gpus)
    await bench.python("gated", "pass", spec={"schedulingGates": [{"name": "kueue"}]})
    pod = await bench.wait("gpu-2", lambda pod: bool(pod["status"].get("conditions")))
    assert condition(pod, "PodScheduled")["message"] == "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    pod = await bench.wait("gated", lambda pod: bool(pod["status"].get("conditions")))
    assert condition(pod, "PodScheduled")["reason"] == "SchedulingGated"
    nodes = {(await bench.get(name))["spec"]["nodeName"] for name in ("gpu-0", "gpu-1")}
    assert nodes == {"node-0", "node-1"}
    await bench.delete("gpu-0")
    await bench.wait_phase("gpu-2", "Succeeded")


async def test_a_dead_node_is_noticed_late_and_comes_back(bench: Bench) -> None:
    await bench.python("victim", "import time; time.sleep(600)")
    pod = await bench.wait_phase("victim", "Running")
    await bench.nodes.die(pod["spec"]["nodeName"])
    assert count_processes("victim") == 0
    assert (await bench.get("victim"))["status"]["phase"] == "Running"
    path = f"/api/v1/nodes/{pod['spec']['nodeName']}"
    node = await eventually(lambda: bench.client.request("GET", path), lambda node: node["spec"].get("taints"))
    assert {taint["effect"] for taint in node["spec"]["taints"]} == {"NoSchedule", "NoExecute"}
    assert condition(node, "Ready")["status"] == "Unknown"
    await bench.wait("victim", lambda pod: condition(pod, "Ready")["status"] == "False")
    await bench.nodes.revive(pod["spec"]["nodeName"])
    lost = await bench.wait_phase("victim", "Failed")
    assert state(lost).items() >= {"exitCode": 137, "reason": "ContainerStatusUnknown"}.items()
    node = await bench.client.request("GET", path)
    assert not node["spec"].get("taints")


async def test_a_partitioned_nodes_pods_live_on_unheard_of(bench: Bench) -> None:
    """It is declared lost; what ends, and what is deleted, on it is seen when the partition is over."""
    code = "import os, time\nwhile not os.path.exists('/mnt/end'): time.sleep(0.02)"
    spec = {"volumes": [{"name": "v", "emptyDir": {}}], "nodeSelector": {"kubernetes.io/hostname": "node-0"}}
    for name in ("ends", "deleted"):
        await bench.run(name, ["python", "-c", code], spec=spec, volumeMounts=[{"name": "v", "mountPath": "/mnt"}])
        await bench.wait_phase(name, "Running")
    await bench.nodes.partition("node-0")
    await bench.delete("deleted")
    (bench.nodes.volume(bench.namespace, "ends", "v") / "end").touch()
    node = "/api/v1/nodes/node-0"
    await eventually(lambda: bench.client.request("GET", node), lambda node: node["spec"].get("taints"))
    assert [count_processes(name) for name in ("ends", "deleted")] == [0, 1]
    assert (await bench.get("ends"))["status"]["phase"] == "Running"
    assert "deleted" not in bench.gone
    await bench.nodes.heal("node-0")
    assert state(await bench.wait_phase("ends", "Succeeded"))["exitCode"] == 0
    await bench.wait_gone("deleted")
    assert not (await bench.client.request("GET", node))["spec"].get("taints")


async def test_drain_evicts_with_a_reason_and_grace(bench: Bench) -> None:
    await bench.python("moved", TRAP)
    await bench.wait_log("moved", "ready")
    node = (await bench.get("moved"))["spec"]["nodeName"]
    await bench.nodes.drain(node)
    pod = await bench.wait("moved", lambda pod: state(pod)["kind"] == "terminated")
    assert condition(pod, "DisruptionTarget")["reason"] == "EvictionByEvictionAPI"
    assert state(pod)["exitCode"] == 75
    await bench.wait_gone("moved")
    assert (await bench.client.request("GET", f"/api/v1/nodes/{node}"))["spec"]["unschedulable"] is True


async def test_pretended_pods_end_as_told(api: ApiServer, tmp_path: Path) -> None:
    kubeconfig = api.kubeconfig()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ApiClient(kubeconfig))
        nodes = await stack.enter_async_context(Nodes(kubeconfig, tmp_path, pretend=True))
        bench = await stack.enter_async_context(watched(Bench(client, nodes)))
        for name in ("told", "gone"):
            await bench.run(name, ["no-such-program"])
            await bench.wait_phase(name, "Running")
        nodes.finish_pod("default", "told", code=70, message="{}")
        failed = await bench.wait_phase("told", "Failed")
        assert state(failed).items() >= {"exitCode": 70, "message": "{}"}.items()
        await bench.delete("gone")
        await bench.wait_gone("gone")
