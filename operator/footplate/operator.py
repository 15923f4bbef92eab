"""The operator: kopf for lifecycle, login and the events of our own kinds, `machinery.manager` for all the rest.

Starts as `footplate operator` or `kopf run -m footplate.operator`. kopf must write nothing: no finalizer, annotation,
Kubernetes event or peering object. Its handlers put what they see into a store, which puts the job's key into the
queue.

kopf ends at any answer to a list or a watch that it doesn't know: 400, 404, 410 but as an event, an ERROR event of any
other code, half a line, HTML. Under `footplate operator` it is then started anew and all the rest goes on: stores,
lease, workers. Only `kopf run` has nobody who could do that.
"""

import asyncio
import gc
import itertools
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf
import structlog

from footplate.machinery.logs import configure_logging
from footplate.machinery.manager import Manager
from footplate.machinery.resources import TRAINING_JOBS
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.store import Store

__all__ = ["OperatorSettings", "run_operator"]

log = structlog.get_logger(__name__)

_GROUP, _VERSION = TRAINING_JOBS.api.split("/")
_INACTIVITY_SECONDS = 75
_PAGE = 500
_COLLECTOR_THRESHOLDS = (20_000, 20, 20)
"""Pods are trees: at its defaults Python's cycle collector walks all of them again and again for nothing, which takes
40 % of the time of a list of 16,000.
"""


async def run_operator(settings: OperatorSettings) -> None:
    """Runs one replica until SIGTERM, SIGINT or cancellation.

    Raises:
        ConfigurationError: it can't run as it was set up.
        LeaseLost: another replica leads by now.
    """
    stopped = asyncio.Event()
    manager = Manager(settings, on_failure=stopped.set)
    try:
        await manager.connect()
        await _keep_kopf_running(settings, manager, stopped)
    finally:
        await manager.stop()
    if manager.failure is not None:
        raise manager.failure


async def _keep_kopf_running(settings: OperatorSettings, manager: Manager, stopped: asyncio.Event) -> None:
    begin = manager.start
    while not stopped.is_set():
        try:
            await _run_kopf(settings, manager, stopped, begin=begin)
            return
        except Exception as error:
            log.warning("kopf_starts_anew", error=f"{type(error).__name__}: {error}")
        begin = manager.resume


async def _run_kopf(
    settings: OperatorSettings, manager: Manager, stopped: asyncio.Event, *, begin: Callable[[], Awaitable[None]]
) -> None:
    """kopf's root tasks until one of them ends, then all of them. `kopf.operator` would also cancel every other task
    of the event loop. What comes before the first event is done by `begin`, when kopf minds the signals already.
    """
    tasks = await kopf.spawn_tasks(
        memo=kopf.Memo(manager=manager, begin=begin),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stopped,
        # kopf would else ask for the user's name, which a UID without a passwd entry hasn't got.
        identity=settings.identity,  # type: ignore[arg-type]  # kopf doesn't export its type
    )
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Of the watchers kopf cancels none when one of them has failed.
        watchers = [task for task in asyncio.all_tasks() if task.get_name().startswith("watcher for ")]
        for task in (*tasks, *watchers):
            task.cancel()
        await asyncio.gather(*tasks, *watchers, return_exceptions=True)
    for task in ended:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


class _Endless:
    """Pauses between tries of kopf's requests: the API server may be away for longer than any list of them."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1, 2, 5), itertools.repeat(10.0))


class _NoProgress(kopf.ProgressStorage):
    """Keeps nothing: there are no handlers whose progress would matter."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None

    def purge(self, **_: Any) -> None:
        return None

    def touch(self, **_: Any) -> None:
        return None

    def clear(self, *, essence: Any) -> Any:
        return essence


class _NoDiffBase(kopf.DiffBaseStorage):
    """Keeps nothing: the status says what was done."""

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


@kopf.on.startup()
async def start(settings: kopf.OperatorSettings, memo: Any, **_: Any) -> None:
    """Sets kopf up to write nothing, and starts the machinery."""
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.persistence.progress_storage = _NoProgress()
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.networking.error_backoffs = _Endless()
    settings.networking.request_timeout = 60
    settings.watching.chunk_size = _PAGE
    settings.queueing.idle_timeout = 0.2  # for so long kopf keeps every event, and one may be of a megabyte
    settings.watching.inactivity_timeout = _INACTIVITY_SECONDS
    if "manager" not in memo:
        configure_logging()
        settings_here = OperatorSettings.from_environment()
        memo.manager = Manager(settings_here, on_failure=lambda: signal.raise_signal(signal.SIGTERM))
        await memo.manager.connect()
        memo.begin, memo.end = memo.manager.start, memo.manager.stop
    await memo.begin()


@kopf.on.cleanup()
async def stop(memo: Any, **_: Any) -> None:
    """Ends the machinery where nobody else does."""
    if "end" in memo:
        await memo.end()


@kopf.on.login()
async def login(memo: Any, **_: Any) -> kopf.AiohttpSession:
    """Lends kopf a session that renews its credentials by itself."""
    manager: Manager = memo.manager
    return kopf.AiohttpSession(server=manager.server, aiohttp_session=manager.open_session())


@kopf.on.event(_GROUP, _VERSION, "trainingjobs")
async def see_job(event: Any, memo: Any, **_: Any) -> None:
    """A TrainingJob appeared, changed or went."""
    _take(memo.manager, memo.manager.cluster.jobs, event)


@kopf.on.event(_GROUP, _VERSION, "trainingruntimes")
async def see_runtime(event: Any, memo: Any, **_: Any) -> None:
    """A TrainingRuntime appeared, changed or went."""
    _take(memo.manager, memo.manager.cluster.runtimes, event)


@kopf.on.event(_GROUP, _VERSION, "clustertrainingruntimes")
async def see_cluster_runtime(event: Any, memo: Any, **_: Any) -> None:
    """A ClusterTrainingRuntime appeared, changed or went."""
    _take(memo.manager, memo.manager.cluster.cluster_runtimes, event)


def _take(manager: Manager, store: Store, event: Any) -> None:
    if event["type"] is None:  # of a list, and a list comes after a gap
        manager.note_gap()
    store.apply(event["object"], deleted=event["type"] == "DELETED")
