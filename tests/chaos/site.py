"""Where schedules are lived through: a devcluster with real processes, an operator in a process of its own, and a real
S3 server behind a proxy that can misbehave. One site serves many jobs, one after the other.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar

from chaos.processes import processes_of
from chaos.schedule import EVERY, STEPS, Schedule, Variant
from chaos.storage import Storage
from footplate.contract import Label
from footplate.devcluster.client import MERGE, Object
from footplate.devcluster.faults import Faults
from footplate.devcluster.up import DevCluster
from footplate.errors import NotFound
from footplate_trainer.exchange import Beat, read_heartbeats
from invariants import Invariants
from job_life import Operator
from s3_proxy import S3Proxy

NAMESPACE = "default"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
JOBS = f"/apis/footplate.dev/v1alpha1/namespaces/{NAMESPACE}/trainingjobs"
PROGRAMS = Path(__file__).parents[1] / "programs"
NODES = 8
NODE_GRACE_SECONDS = 2.0
LOOK_SECONDS = 0.005
PATIENCE_SECONDS = 90.0
KEEP = 3
HANG_SECONDS = 5
GRACE_SECONDS = 10
T = TypeVar("T")

SETTINGS: Mapping[str, dict[str, Any]] = {
    "exact.py": {"samples": 288, "batchSize": 24, "epochs": 6},
    "fit.py": {
        "epochs": STEPS["fit.py"] // 5,
        "accumulate": 2,
        "dropout": 0.3,
        "noise": 0.1,
        "batchNorm": True,
        "evaluationSeconds": 0.01,
    },
}
VARIANTS: Mapping[Variant, dict[str, Any]] = {
    Variant.PLAIN: {},
    Variant.STREAM: {"stream": True},
    Variant.TRAININGS: {"trainings": ["first", "second"], "epochs": 3},
    Variant.CALLBACKS: {"callbacks": True},
}
STEP_SECONDS = 0.025


@dataclass
class Life:
    """A job as it is seen from outside, always up to date."""

    name: str
    witness: Path
    job: Object = field(default_factory=dict)
    pods: dict[str, Object] = field(default_factory=dict)
    invariants: Invariants = field(default_factory=Invariants)

    @property
    def status(self) -> Object:
        return dict(self.job.get("status") or {})

    @property
    def finished(self) -> bool:
        return self.status.get("phase") in ("Succeeded", "Failed")

    @property
    def attempt(self) -> int:
        """The newest attempt that has pods, -1 where none has."""
        return max((attempt_of(pod) for pod in self.pods.values()), default=-1)

    @property
    def gang(self) -> list[Object]:
        """Its pods that haven't ended, by rank."""
        pods = [self.pods[name] for name in sorted(self.pods)]
        live = [pod for pod in pods if pod["status"].get("phase") not in ("Succeeded", "Failed")]
        return [pod for pod in live if attempt_of(pod) == self.attempt]


def attempt_of(pod: Object) -> int:
    return int(pod["metadata"]["labels"][Label.ATTEMPT])


class Site:
    """`async with Site(folder) as site`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.faults = Faults(seed=0)
        self.cluster = DevCluster(
            folder / "cluster", nodes=NODES, operator=None, faults=self.faults, node_grace_seconds=NODE_GRACE_SECONDS
        )
        self.operator_log = folder / "operator.log"
        self.operator = Operator(self.cluster.kubeconfig_path, poll_interval=0.3, log=self.operator_log)
        self._lives: dict[str, Life] = {}
        self._references: dict[tuple[str, int], Any] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.cluster)
            self.client, self.nodes = self.cluster.client, self.cluster.nodes
            s3 = await self.cluster.storage_ready()
            self.storage = Storage(s3)
            self.proxy = stack.enter_context(S3Proxy(s3.endpoint, bytes_per_second=100_000, delay_seconds=0.1))
            await self._create_objects({**s3.environment, "AWS_ENDPOINT_URL": self.proxy.endpoint})
            stack.callback(self._stop_operator)
            for work in (self.operator.keep_alive(), self._follow_jobs(), self._follow_pods()):
                task = asyncio.create_task(work)
                stack.push_async_callback(_end, task)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def living(self, name: str, spec: Object) -> AsyncIterator[Life]:
        """A job that lives in the block; nothing of it is left afterwards."""
        life = self._lives[name] = Life(name, self.folder / f"{name}.witness")
        life.witness.touch()
        spec["trainer"]["hyperparameters"]["witness"] = str(life.witness)
        job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec}
        await self.client.request("POST", JOBS, job)
        try:
            yield life
        finally:
            with suppress(NotFound):
                await self.client.request("DELETE", f"{JOBS}/{name}")
            await self._calm()

    async def left_of(self, life: Life) -> list[str]:
        """What is still there of a job that was deleted, when it should be gone."""
        deadline = asyncio.get_running_loop().time() + GRACE_SECONDS + 10
        while (left := await self._remains(life)) and asyncio.get_running_loop().time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return left

    async def _remains(self, life: Life) -> list[str]:
        found = [f"process {each}" for each in processes_of(life.name)]
        for kind in ("pods", "services", "configmaps"):
            names = [item["metadata"]["name"] for item in (await self.client.request("GET", f"{CORE}/{kind}"))["items"]]
            found += [f"{kind}/{name}" for name in names if name.startswith(f"{life.name}-")]
        return found

    async def until(self, what: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS) -> T:
        """Waits until there is something; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while (found := what()) is None:  # noqa: ASYNC110  what processes write into files notifies nobody
                await asyncio.sleep(LOOK_SECONDS)
        return found

    async def reference(self, schedule: Schedule) -> Any:
        """What the same job ends with when nothing happens to it, not even checkpoints: its result, and its steps."""
        key = (schedule.program, schedule.variant, schedule.world)
        if key not in self._references:
            name = f"reference-{schedule.program.removesuffix('.py')}-{schedule.variant}-{schedule.world}"
            spec = job_spec(name, schedule)
            del spec["checkpoint"]
            async with self.living(name, spec) as life:
                await self.until(lambda: life.finished or None)
                assert life.status["phase"] == "Succeeded", life.status
                self._references[key] = (await self.storage.result(name), life.witness.read_text())
        return self._references[key]

    def beats(self, life: Life) -> dict[int, Beat]:
        """The last signs of life of the newest gang's ranks."""
        beats: dict[int, Beat] = {}
        for pod in life.gang:
            with suppress(KeyError, OSError):
                beats |= read_heartbeats(self.nodes.volume(NAMESPACE, pod["metadata"]["name"], "footplate-run"))
        return beats

    def has_result(self, life: Life) -> bool:
        """True once rank 0 has written what the model is made of."""
        with suppress(KeyError, IndexError):
            scratch = self.nodes.volume(NAMESPACE, life.gang[0]["metadata"]["name"], "footplate-scratch")
            return (scratch / "output" / "result-0.json").exists()
        return False

    async def events(self, life: Life) -> Iterator[str]:
        """What was said of a job and its pods."""
        items = (await self.client.request("GET", f"{CORE}/events"))["items"]
        about = [event for event in items if event["involvedObject"]["name"].startswith(life.name)]
        return (f"{event.get('lastTimestamp')} {event['reason']}: {event['message']}" for event in about)

    def logs(self, life: Life, *, lines: int = 25) -> Iterator[str]:
        """The end of each pod's log."""
        for path in sorted((self.nodes.host.folder / "logs" / NAMESPACE).glob(f"{life.name}-*/*.log")):
            yield f"--- {path.parent.name}"
            yield from path.read_text(errors="replace").splitlines()[-lines:]

    async def _calm(self) -> None:
        """Everything is as before the faults."""
        self.faults.clear()
        self.operator.set_clock_ahead(0.0)
        await asyncio.to_thread(self.proxy.strike, None)
        for name in self.nodes.names:
            await self.client.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}}, kind=MERGE)

    async def _create_objects(self, storage: Mapping[str, str]) -> None:
        programs = {name: (PROGRAMS / name).read_text() for name in (*STEPS, "witness.py")}
        objects: dict[str, Object] = {"ConfigMap": {"data": programs}, "Secret": {"stringData": storage}}
        for kind, content in objects.items():
            body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "chaos"}, **content}
            await self.client.request("POST", f"{CORE}/{kind.lower()}s", body)

    async def _follow_jobs(self) -> None:
        async for kind, data in self.client.follow(JOBS):
            for job in data if kind == "LIST" else [data]:
                if (life := self._lives.get(job["metadata"]["name"])) is not None:
                    life.job = job
                    life.invariants.see_job(job)

    async def _follow_pods(self) -> None:
        async for kind, data in self.client.follow(f"{CORE}/pods"):
            here = {pod["metadata"]["name"] for pod in data} if kind == "LIST" else set()
            for life in self._lives.values() if kind == "LIST" else ():
                for name in life.pods.keys() - here:
                    life.invariants.see_pod(life.pods.pop(name), gone=True)
            for pod in data if kind == "LIST" else [data]:
                self._see_pod(pod, gone=kind == "DELETED")

    def _see_pod(self, pod: Object, *, gone: bool) -> None:
        life, name = self._lives.get(pod["metadata"]["labels"].get(Label.JOB, "")), pod["metadata"]["name"]
        if life is None:
            return
        life.invariants.see_pod(pod, gone=gone)
        if gone:
            life.pods.pop(name, None)
        else:
            life.pods[name] = pod

    def _stop_operator(self) -> None:
        with suppress(ProcessLookupError):
            self.operator.kill()


def job_spec(name: str, schedule: Schedule) -> Object:
    """The job of a schedule: its budgets are such that it always gets to its end, as soon as it can."""
    settings = {**SETTINGS[schedule.program], "stepSeconds": STEP_SECONDS, "workers": schedule.workers}
    settings |= VARIANTS[schedule.variant]
    return {
        "trainer": {
            "image": "footplate/trainer:dev",
            "entrypoint": schedule.program,
            "source": {"configMap": {"name": "chaos"}},
            "hyperparameters": settings,
        },
        "nodes": schedule.nodes,
        "processesPerNode": schedule.processes,
        "checkpoint": {"uri": f"s3://checkpoints/{name}/", "every": {"steps": EVERY}, "keep": KEEP},
        "output": {"uri": f"s3://models/{name}/"},
        "storage": {"secretRef": {"name": "chaos"}},
        "runPolicy": {
            "maxRestarts": 50,
            "maxDisruptions": 50,
            "restartBackoffSeconds": 0,
            "hangTimeoutSeconds": HANG_SECONDS,
            "terminationGracePeriodSeconds": GRACE_SECONDS,
        },
    }


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
