"""One operator process: what runs in it, in which order it starts and ends, and who may write.

- Every replica keeps its stores warm; only the holder of the lease has workers, and before they start it has read all
  jobs afresh, so that it never works from less than its predecessor wrote.
- Losing the lease cancels all that writes before anybody else can take it, and ends the process.
- A part that dies ends the process too: half an operator helps nobody, and a restart loses nothing.
- The custom resources' events come from kopf, which doesn't tell what was deleted while it didn't watch: after a gap in
  its watches, and now and then, everything is listed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import aiohttp
import structlog

from footplate.contract import MANAGED_SELECTOR
from footplate.errors import FootplateError
from footplate.machinery.applier import Applier
from footplate.machinery.client import Fence, KubeClient, Unfenced
from footplate.machinery.clock import SystemClock
from footplate.machinery.cluster import Cluster
from footplate.machinery.contact import Contact, tell_time
from footplate.machinery.crds import find_missing_crds
from footplate.machinery.credentials import Credentials
from footplate.machinery.lease import REQUEST_TIMEOUT, Lease
from footplate.machinery.metrics import Metrics
from footplate.machinery.poller import Poller, Target, target_of
from footplate.machinery.probes import Probes
from footplate.machinery.recorder import Recorder
from footplate.machinery.reflector import Reflector
from footplate.machinery.resources import CLUSTER_RUNTIMES, NODES, PODS, RUNTIMES, TRAINING_JOBS, Resource
from footplate.machinery.run_configs import RunConfigs
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.store import Store
from footplate.machinery.worker import Worker
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import Object

log = structlog.get_logger(__name__)

STALE_SECONDS = 180.0
"""A reflector that has heard nothing for so long makes the replica unready."""

_RESYNC_SECONDS = 600.0
_RESYNC_PAUSE_SECONDS = 20.0
"""Between two lists, however many gaps there are."""
_RETRY_SECONDS = 5.0


class Manager:
    """All the machinery of one replica. `connect`, then `start`, then at the end `stop`, however it came to it; in
    between `resume` whenever there will be events of the custom resources again.

    `on_failure` is called once when the process can't go on; `failure` then says why.
    """

    def __init__(
        self, settings: OperatorSettings, *, on_failure: Callable[[], None], clock: SystemClock | None = None
    ) -> None:
        self._settings = settings
        self._on_failure = on_failure
        self._clock = clock or SystemClock()
        self._metrics = Metrics()
        self._queue = WorkQueue(workers=settings.workers, clock=self._clock, metrics=self._metrics)
        self._credentials = Credentials(kubeconfig=settings.kubeconfig, context=settings.context)
        self._exits = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._reflectors: list[Reflector] = []
        self._resynced_at: float | None = None
        self._gap = asyncio.Event()
        self._contact = Contact(clock=self._clock)
        self._lease: Lease | None = None
        self._stopping = False
        self.failure: BaseException | None = None
        self.probes: Probes | None = None
        self.cluster = Cluster(self._queue.add)
        self._metrics.count_jobs(self.cluster.jobs_by_phase)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._credentials.server

    def open_session(self) -> aiohttp.ClientSession:
        """An authorised session for kopf, who closes it; `/readyz` says so when its requests fail for long."""
        return self._credentials.open_session(self._contact)

    async def connect(self) -> None:
        """Reads how to reach the API server, and listens for probes: ConfigurationError where either can't be."""
        await self._credentials.load()
        probes = Probes(
            host=self._settings.host,
            port=self._settings.port,
            metrics=self._metrics,
            alive=self._what_is_dead,
            ready=self._what_is_unready,
        )
        self.probes = await self._exits.enter_async_context(probes)
        log.info("listening", port=self.probes.port, server=self.server)

    async def start(self) -> None:
        """Waits for the CRDs, then starts everything in the background."""
        session = await self._exits.enter_async_context(self._credentials.open_session(tell_time(self._clock)))
        lease = self._build_lease(session)
        self._client = client = self._build_client(session, fence=lease)
        await self._wait_for_crds()
        self._reflectors = list(self._build_reflectors(client))
        for resource in (PODS, NODES):
            self._metrics.event_age.labels(resource.plural).set_function(partial(self._age, resource))
        for reflector in self._reflectors:
            self._spawn(reflector.run(), f"reflect {reflector.resource.plural}")
        self._spawn(self._resync_for_ever(client), "resync custom resources")
        self._spawn(self._lead(client, lease), "lead")

    async def resume(self) -> None:
        """Waits a moment, then for the CRDs, until events can be expected again; what was missed is listed."""
        await self._clock.sleep(_RETRY_SECONDS)
        await self._wait_for_crds()
        self._gap.set()

    def note_gap(self) -> None:
        """Events may have been missed."""
        self._gap.set()

    async def stop(self) -> None:
        """Ends all writes, gives the lease back, closes every connection."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lease is not None:
            await self._lease.release()
        await self._exits.aclose()

    def _build_lease(self, session: aiohttp.ClientSession) -> Lease | None:
        if not self._settings.leader_election:
            return None
        client = KubeClient(
            session, self.server, metrics=self._metrics, clock=self._clock, tries=1, timeout=REQUEST_TIMEOUT
        )
        self._lease = Lease(
            client,
            namespace=self._settings.lease_namespace,
            name=self._settings.lease_name,
            identity=self._settings.identity,
            clock=self._clock,
        )
        return self._lease

    def _build_client(self, session: aiohttp.ClientSession, *, fence: Fence | None) -> KubeClient:
        return KubeClient(session, self.server, metrics=self._metrics, clock=self._clock, fence=fence or Unfenced())

    def _build_reflectors(self, client: KubeClient) -> list[Reflector]:
        pods = [
            Reflector(
                client,
                PODS,
                self.cluster.pods,
                clock=self._clock,
                metrics=self._metrics,
                namespace=namespace,
                selector=MANAGED_SELECTOR,
            )
            for namespace in self._namespaces
        ]
        nodes = Reflector(client, NODES, self.cluster.nodes, clock=self._clock, metrics=self._metrics)
        return [*pods, nodes]

    @property
    def _namespaces(self) -> tuple[str, ...]:
        return self._settings.namespaces or ("",)

    async def _wait_for_crds(self) -> None:
        while True:
            try:
                missing = await find_missing_crds(self._client)
                if not missing:
                    return
                log.warning("crds_missing", missing=missing, api=TRAINING_JOBS.api, way_out="kubectl apply -f crds/")
            except FootplateError as error:
                log.warning("api_server_unavailable", server=self.server, error=str(error))
            await self._clock.sleep(_RETRY_SECONDS)

    async def _resync_for_ever(self, client: KubeClient) -> None:
        while True:
            self._gap.clear()
            await self._until_it_works(self._resync, client)
            await self._clock.sleep(_RESYNC_PAUSE_SECONDS)
            await self._gap_or(_RESYNC_SECONDS)

    async def _gap_or(self, seconds: float) -> None:
        timer = self._clock.call_later(seconds, self._gap.set)
        try:
            await self._gap.wait()
        finally:
            timer.cancel()

    async def _resync(self, client: KubeClient) -> None:
        async with asyncio.TaskGroup() as lists:
            lists.create_task(self._list(client, CLUSTER_RUNTIMES, self.cluster.cluster_runtimes))
            for namespace in self._namespaces:
                lists.create_task(self._list(client, RUNTIMES, self.cluster.runtimes, namespace))
                lists.create_task(self._list(client, TRAINING_JOBS, self.cluster.jobs, namespace))
        self._resynced_at = self._clock.monotonic()

    async def _list(self, client: KubeClient, resource: Resource, store: Store, namespace: str = "") -> None:
        objects: list[Object] = []
        version = ""
        async for page, version in client.pages(resource, namespace=namespace):  # noqa: B007
            objects.extend(map(store.slim, page))
        store.replace(objects, version, scope=namespace)

    async def _until_it_works(self, work: Callable[[KubeClient], Awaitable[None]], client: KubeClient) -> None:
        while True:
            try:
                await work(client)
                return
            except* Exception as errors:
                log.warning("list_retries", error=repr(errors.exceptions[0]))
            await self._clock.sleep(_RETRY_SECONDS)

    async def _lead(self, client: KubeClient, lease: Lease | None) -> None:
        for reflector in self._reflectors:
            await reflector.synced.wait()
        if lease is not None:
            await lease.acquire()
        # Whoever led before wrote up to a moment ago: its last status must be known before anything is decided.
        await self._until_it_works(self._resync, client)
        self._metrics.leader.set(1)
        self._start_workers(client)
        if lease is not None:
            await lease.hold()
        else:
            await asyncio.Event().wait()

    def _start_workers(self, client: KubeClient) -> None:
        clock, metrics = self._clock, self._metrics
        recorder = Recorder(client, clock=clock, metrics=metrics, identity=self._settings.identity)
        run_configs = RunConfigs(client, clock=clock)
        poller = Poller(
            self._running_gangs,
            on_change=self._queue.add,
            clock=clock,
            metrics=metrics,
            interval=self._settings.poll_interval,
        )
        applier = Applier(client, self.cluster, run_configs, recorder=recorder, clock=clock, metrics=metrics)
        worker = Worker(self._queue, self.cluster, run_configs, applier, poller, clock=clock, metrics=metrics)
        self._spawn(recorder.run(), "record events")
        self._spawn(poller.run(), "poll progress")
        for number in range(self._settings.workers):
            self._spawn(worker.run(), f"worker {number}")

    def _running_gangs(self) -> list[Target]:
        jobs = self.cluster.jobs.indexed("phase", "Running")
        return [target for job in jobs if (target := target_of(job, self.cluster.pods_of(job)))]

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        """Nothing here ends by itself: what does takes the rest with it, and in the same turn of the event loop."""
        if self._stopping or self.failure is not None:
            return
        error = None if task.cancelled() else task.exception()
        self.failure = error or RuntimeError(f"{task.get_name()} ended")
        log.error("stopping", part=task.get_name(), error=str(self.failure))
        self._metrics.leader.set(0)
        for other in self._tasks:
            other.cancel()
        self._on_failure()

    def _age(self, resource: Resource) -> float:
        return max(reflector.age() for reflector in self._reflectors if reflector.resource == resource)

    def _what_is_dead(self) -> Mapping[str, str]:
        return {"operator": str(self.failure)} if self.failure is not None else {}

    def _what_is_unready(self) -> Mapping[str, str]:
        problems = dict(self._what_is_dead())
        if self._resynced_at is None:
            problems["trainingjobs"] = "not listed yet"
        for path, problem in self._contact.failing_for(STALE_SECONDS).items():
            problems[path] = f"not answered for {STALE_SECONDS:.0f} s: {problem}"
        for reflector in self._reflectors:
            age = reflector.age()
            if not reflector.synced.is_set():
                problems[reflector.resource.plural] = "not listed yet"
            elif age > STALE_SECONDS:
                problems[reflector.resource.plural] = f"nothing heard of the API server for {age:.0f} s"
        if not self._reflectors:
            problems["pods"] = "not listed yet"
        return problems
