"""One operator process: what runs in it, in which order it starts and ends, and what it says of itself.

- Losing the lease cancels all that writes before anybody else can take it, and ends the process.
- A part that dies ends the process too: half an operator helps nobody, and a restart loses nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import structlog

from footplate.errors import FootplateError
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import SystemClock
from footplate.machinery.cluster import Cluster
from footplate.machinery.contact import Contact, Pace, tell_time
from footplate.machinery.crds import CrdsChanged, find_edition, find_problem
from footplate.machinery.credentials import Credentials
from footplate.machinery.leader import Election, Leader, Unopposed
from footplate.machinery.lease import REQUEST_TIMEOUT, Lease
from footplate.machinery.lease_thread import LeaseThread
from footplate.machinery.metrics import Metrics
from footplate.machinery.probes import Probes
from footplate.machinery.rights import Rights
from footplate.machinery.scrape_auth import UNAVAILABLE, ScrapeAuth
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.store import Store
from footplate.machinery.token_key import read_token_key
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import Object, key_of
from footplate.tokens import NO_TOKENS, PodTokens

log = structlog.get_logger(__name__)

STALE_SECONDS = 180.0
"""A reflector that has heard nothing for so long makes the replica unready."""

_RETRY_SECONDS = 5.0
_REVIEWS_AT_ONCE = 4
_REVIEW_SECONDS = 5.0
_CRDS_SECONDS = 30.0
"""Between two looks whether other CRDs are served."""
_CRDS_LOOKS = 3

_LAST_WRITES_SECONDS = 5.0
"""For so long a replica that was asked to end waits for the answers of its writes."""


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
        self._credentials = self._build_credentials()
        self._exits = AsyncExitStack()
        self._tasks: set[asyncio.Task[None]] = set()
        self._contact = Contact(clock=self._clock)
        self._pace = Pace(clock=self._clock)
        self._rights = Rights(clock=self._clock, metrics=self._metrics)
        self._client: KubeClient | None = None
        self._lease: LeaseThread | None = None
        self._scrape_auth: ScrapeAuth | None = None
        self._leader: Leader | None = None
        self._stopping = False
        self._tokens = NO_TOKENS
        self._troubles: dict[str, str] = {}
        self.failure: BaseException | None = None
        self.probes: Probes | None = None
        self.cluster = Cluster(self._queue.add, clock=self._clock, namespaces=settings.namespaces)
        self._metrics.jobs.chargeback.label = settings.chargeback_label
        self._metrics.jobs.serve(self.cluster.jobs.objects().values)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return self._credentials.server

    def open_session(self) -> aiohttp.ClientSession:
        """An authorised session for kopf, who closes it; `/readyz` says so when its requests fail for long."""
        return self._credentials.open_session(self._contact, self._rights, self._pace)

    async def connect(self) -> None:
        """Reads its key and how to reach the API server, and listens for probes: ConfigurationError where one of them
        can't be.
        """
        key = read_token_key(self._settings.token_key_file)
        self._tokens = PodTokens(key, open_metrics=self._settings.open_pod_metrics)
        await self._credentials.load()
        probes = Probes(
            host=self._settings.host,
            port=self._settings.port,
            metrics=self._metrics,
            alive=self._what_is_dead,
            ready=self._what_is_unready,
            judge=self._judge_scrape if self._settings.metrics_auth else None,
        )
        self.probes = await self._exits.enter_async_context(probes)
        log.info("listening", port=self.probes.port, server=self.server)

    async def start(self) -> None:
        """Waits for the CRDs, then starts everything in the background."""
        session = self._credentials.open_session(tell_time(self._clock), self._rights, fenced=True)
        await self._exits.enter_async_context(session)
        election: Election = Unopposed()
        if self._settings.leader_election:
            election = self._lease = LeaseThread(self._open_lease)
        client = KubeClient(session, self.server, metrics=self._metrics, clock=self._clock, fence=election)
        self._client = client
        # Reviews change nothing, and who stands by is scraped too: no lease fences them.
        reviewer = KubeClient(
            session,
            self.server,
            metrics=self._metrics,
            clock=self._clock,
            in_flight=_REVIEWS_AT_ONCE,
            timeout=_REVIEW_SECONDS,
        )
        self._scrape_auth = ScrapeAuth(reviewer, clock=self._clock)
        self._spawn(self._rights.run(reviewer), "check rights")
        await self._wait_for_crds(client)
        self._spawn(self._watch_crds(client), "check CRDs")
        self._leader = Leader(
            client,
            election,
            self.cluster,
            self._queue,
            settings=self._settings,
            clock=self._clock,
            metrics=self._metrics,
            spawn=self._spawn,
            tokens=self._tokens,
        )
        self._leader.start()

    async def resume(self) -> None:
        """Waits for the CRDs, until events can be expected again; what was missed is listed."""
        if self._client is not None:
            await self._wait_for_crds(self._client)
        self.note_gap()

    def note_gap(self) -> None:
        """Events may have been missed."""
        if self._leader is not None:
            self._leader.custom_resources.note_gap()

    def take(self, store: Store, obj: Object, *, deleted: bool) -> None:
        """Takes over one event of a custom resource."""
        namespace, _ = key_of(obj)
        store.apply(obj, deleted=deleted, scope=namespace if self._settings.namespaces else "")

    def note_trouble(self, part: str, problem: str | None) -> None:
        """Makes the replica unready for as long as a part has a problem."""
        self._troubles.pop(part, None)
        if problem is not None:
            self._troubles[part] = problem

    async def stop(self) -> None:
        """Ends all writes, gives the lease back, closes every connection. Where a write may still be done by the API
        server, the lease is left to run out.
        """
        self._stopping = True
        done = self._client is None or await self._client.finish_writes(within=_LAST_WRITES_SECONDS)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._lease is not None:
            await self._lease.close(release=done)
        await self._exits.aclose()

    def _build_credentials(self) -> Credentials:
        return Credentials(kubeconfig=self._settings.kubeconfig, context=self._settings.context)

    @asynccontextmanager
    async def _open_lease(self) -> AsyncIterator[Lease]:
        """In the lease's own thread: nothing that belongs to an event loop is shared with the rest."""
        clock, credentials = SystemClock(), self._build_credentials()
        await credentials.load()
        async with credentials.open_session(tell_time(clock), self._rights, fenced=True) as session:
            client = KubeClient(
                session, credentials.server, metrics=self._metrics, clock=clock, tries=1, timeout=REQUEST_TIMEOUT
            )
            yield Lease(
                client,
                namespace=self._settings.lease_namespace,
                name=self._settings.lease_name,
                identity=self._settings.identity,
                clock=clock,
            )

    async def _judge_scrape(self, authorization: str) -> int:
        return await self._scrape_auth.judge(authorization) if self._scrape_auth is not None else UNAVAILABLE

    async def _wait_for_crds(self, client: KubeClient) -> None:
        while (problem := await self._find_problem_with_crds(client)) is not None:
            self.note_trouble("crds", problem)
            await self._clock.sleep(_RETRY_SECONDS)
        self.note_trouble("crds", None)

    async def _find_problem_with_crds(self, client: KubeClient) -> str | None:
        """Why there can be no TrainingJobs yet."""
        try:
            problem = await find_problem(client)
        except FootplateError as error:
            log.warning("api_server_unavailable", server=self.server, error=str(error))
            return str(error)
        if problem is not None:
            log.warning("crds_do_not_fit", problem=problem)
        return problem

    async def _watch_crds(self, client: KubeClient) -> None:
        """Ends the process where others are served for long that don't fit: what is started then waits for those that
        do."""
        edition = ""
        while True:
            try:
                served = await find_edition(client)
            except FootplateError as error:
                log.warning("crds_not_checked", error=str(error))
            else:
                if served != edition:
                    await self._check_crds(client)
                edition = served
            await self._clock.sleep(_CRDS_SECONDS)

    async def _check_crds(self, client: KubeClient) -> None:
        """An API server that was just started may not know them yet; who installs them does one after the other."""
        looks = 0
        while looks < _CRDS_LOOKS:
            with suppress(FootplateError):
                problem = await find_problem(client)
                self.note_trouble("crds", problem)
                if problem is None:
                    return
                looks += 1
                log.warning("crds_do_not_fit", problem=problem)
            await self._clock.sleep(_RETRY_SECONDS)
        raise CrdsChanged(f"crds: {self._troubles['crds']}")

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

    def _what_is_dead(self) -> Mapping[str, str]:
        return {"operator": str(self.failure)} if self.failure is not None else {}

    def _what_is_unready(self) -> Mapping[str, str]:
        problems = {**self._what_is_dead(), **self._troubles, **self._rights.problems()}
        if self._lease is not None and (trouble := self._lease.trouble()):
            problems["lease"] = trouble
        for path, problem in self._contact.failing_for(STALE_SECONDS).items():
            problems[path] = f"not answered for {STALE_SECONDS:.0f} s: {problem}"
        if self._leader is None or not self._leader.custom_resources.synced.is_set():
            problems["trainingjobs"] = "not listed yet"
        if self._leader is None:
            problems["pods"] = "not listed yet"
            return problems
        problems.update(self._leader.others.problems())
        for reflector in self._leader.reflectors:
            age = reflector.age()
            if not reflector.synced.is_set():
                problems[reflector.resource.plural] = "not listed yet"
            elif age > STALE_SECONDS:
                problems[reflector.resource.plural] = f"nothing heard of the API server for {age:.0f} s"
        return problems
