"""One replica from warm stores to a leader that acts, and no decision before it knows.

- Every replica keeps its stores warm; only the holder of the lease has workers. What its stores showed before may be as
  old as the longest silence of a watch, and its predecessor wrote up to a moment ago. So before the workers start,
  everything that they look at is listed afresh inside the lease, and the watches go on from there.
- The lease is renewed from the moment that it is held, whatever else there is to do.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Protocol

import structlog

from footplate.contract import MANAGED_SELECTOR
from footplate.machinery.applier import Applier
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.controllers import controllers
from footplate.machinery.custom_resources import CustomResources
from footplate.machinery.gang_watch import GangWatch
from footplate.machinery.kueue_cleaner import KueueCleaner
from footplate.machinery.last_bills import LastBills
from footplate.machinery.metrics import Metrics
from footplate.machinery.others import Others
from footplate.machinery.poller import Poller, Target, target_of
from footplate.machinery.prometheus import Prometheus
from footplate.machinery.recorder import Recorder
from footplate.machinery.reflector import Reflector
from footplate.machinery.resources import NAMESPACES, NODES, PODS, PRIORITY_CLASSES, Resource
from footplate.machinery.run_configs import RunConfigs
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.suspects import Suspects
from footplate.machinery.transport import Fence, Unfenced
from footplate.machinery.worker import Worker
from footplate.machinery.workqueue import WorkQueue
from footplate.tokens import NO_TOKENS, PodTokens

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], None]
"""Starts work in the background that never ends by itself, under a name."""


class Election(Fence, Protocol):
    """What decides who acts: a lease."""

    async def acquire(self) -> None:
        """Waits until this replica leads."""

    async def hold(self) -> None:
        """Sees to it that it goes on leading; raises when it doesn't any more."""


class Unopposed(Unfenced):
    """For one replica alone."""

    async def acquire(self) -> None:
        """At once."""

    async def hold(self) -> None:
        """For ever."""
        await asyncio.Event().wait()


class Leader:
    """The stores, and what acts upon them while `election` is won. `spawn` is given all that runs."""

    def __init__(
        self,
        client: KubeClient,
        election: Election,
        cluster: Cluster,
        queue: WorkQueue,
        *,
        settings: OperatorSettings,
        clock: Clock,
        metrics: Metrics,
        spawn: Spawn,
        tokens: PodTokens = NO_TOKENS,
    ) -> None:
        self._client = client
        self._election = election
        self._cluster = cluster
        self._queue = queue
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._metrics = metrics
        self._spawn = spawn
        own = f"{settings.lease_namespace}/{settings.lease_name}" if settings.leader_election else ""
        self.others = Others(client, own=own, clock=clock)
        namespaces = settings.namespaces or ("",)
        self.custom_resources = CustomResources(client, cluster, clock=clock, namespaces=namespaces)
        self._gangs = GangWatch(
            client,
            cluster.gangs,
            clock=clock,
            metrics=metrics,
            namespaces=namespaces,
            without=settings.without_gangs,
        )
        reflect = partial(Reflector, client, clock=clock, metrics=metrics)
        self.reflectors = [
            *(reflect(PODS, cluster.pods, namespace=each, selector=MANAGED_SELECTOR) for each in namespaces),
            reflect(NODES, cluster.nodes),
            reflect(NAMESPACES, cluster.namespaces),
            reflect(PRIORITY_CLASSES, cluster.priority_classes),
        ]
        for resource in {reflector.resource for reflector in self.reflectors}:
            metrics.event_age.labels(resource.plural).set_function(partial(self._age, resource))

    def start(self) -> None:
        """Starts everything in the background."""
        for reflector in self.reflectors:
            self._spawn(reflector.run(), f"reflect {reflector.resource.plural}")
        self._spawn(self.custom_resources.run(), "list custom resources")
        self._spawn(self._gangs.run(), "watch gangs")
        self._spawn(self._lead(), "lead")

    async def _lead(self) -> None:
        for synced in (
            self.custom_resources.synced,
            self._gangs.synced,
            *(reflector.synced for reflector in self.reflectors),
        ):
            await synced.wait()
        await self._election.acquire()
        self._spawn(self._election.hold(), "hold the lease")
        await self._refresh()
        self._metrics.leader.set(1)
        self._start_workers()
        await asyncio.Event().wait()

    async def _refresh(self) -> None:
        started = self._clock.monotonic()
        await asyncio.gather(self.custom_resources.refresh(), *(each.refresh() for each in self.reflectors))
        log.info("leading", listed_in_seconds=round(self._clock.monotonic() - started, 3))

    def _start_workers(self) -> None:
        client, cluster, clock, metrics = self._client, self._cluster, self._clock, self._metrics
        recorder = Recorder(client, clock=clock, metrics=metrics, identity=self._settings.identity)
        run_configs = RunConfigs(client, clock=clock)
        poller = Poller(
            self._running_gangs,
            on_change=self._queue.add,
            clock=clock,
            metrics=metrics,
            interval=self._settings.poll_interval,
        )
        applier = Applier(client, cluster, run_configs, recorder=recorder, clock=clock, metrics=metrics)
        bills = LastBills(cluster, run_configs, poller, own=self.others.own, clock=clock, metrics=metrics.jobs)
        cluster.on_deleted = bills.enter
        self._spawn(recorder.run(), "record events")
        self._spawn(KueueCleaner(client, cluster, clock=clock).run(), "free pods that Kueue holds")
        self._spawn(poller.run(), "poll progress")
        self._spawn(cluster.line.run(), "wake jobs in the queue")
        found = controllers(
            cluster,
            self._queue,
            run_configs,
            poller,
            settings=self._settings,
            tokens=self._tokens,
            suspects=self._find_suspects(),
        )
        for controller in found:
            worker = Worker(controller, client, cluster, applier, self.others, clock=clock, metrics=metrics)
            for number in range(self._settings.workers):
                self._spawn(worker.run(), f"worker {number} of {controller.resource.plural}")

    def _find_suspects(self) -> Callable[[], Mapping[str, str]]:
        """Who knows the nodes that are suspect: nobody where no Prometheus is named."""
        if not self._settings.prometheus:
            return dict
        prometheus, nodes = Prometheus(self._settings.prometheus), self._cluster.nodes_by_name
        suspects = Suspects(prometheus, lambda: nodes.keys(), clock=self._clock, metrics=self._metrics)
        self._spawn(suspects.run(), "look for suspect nodes")
        return suspects.now

    def _running_gangs(self) -> list[Target]:
        jobs = self._cluster.jobs.indexed("phase", "Running")
        return [target for job in jobs if (target := target_of(job, self._cluster.pods.get)) is not None]

    def _age(self, resource: Resource) -> float:
        return max(reflector.age() for reflector in self.reflectors if reflector.resource == resource)
