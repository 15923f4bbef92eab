"""The operator: kopf for lifecycle, login and the events of our own kinds, `machinery.manager` for all the rest.

Starts as `footplate operator` or `kopf run -m footplate.operator`. kopf must write nothing: no finalizer, annotation,
Kubernetes event or peering object. Its handlers put what they see into a store, which puts the job's key into the
queue.

kopf ends at any answer to a list or a watch that it doesn't know: 400, 404, 410 but as an event, an ERROR event of any
other code, half a line, HTML. Under `footplate operator` it is then started anew, after a pause that grows, and all the
rest goes on: stores, lease, workers, probes. Only `kopf run` has nobody who could do that. SIGTERM ends the process at
once, whatever it waits for.
"""

import asyncio
import gc
import itertools
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import kopf
import structlog

from footplate.machinery.backoff import pause_after
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
_FIRST_PAUSE = 1.0
_LAST_PAUSE = 60.0
_WELL_SECONDS = 10.0
"""kopf is well once it has run for so long."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
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
    with _signals_set(stopped):
        work = asyncio.create_task(_work(settings, manager, stopped))
        stop = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait((work, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (work, stop):
                task.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)
            await manager.stop()
    if manager.failure is not None:
        raise manager.failure
    if not work.cancelled():
        work.result()


@contextmanager
def _signals_set(stopped: asyncio.Event) -> Iterator[None]:
    _mind_signals(stopped)
    try:
        yield
    finally:
        if _is_main_thread():
            for each in _SIGNALS:
                asyncio.get_running_loop().remove_signal_handler(each)


def _mind_signals(stopped: asyncio.Event) -> None:
    if _is_main_thread():  # no other may handle them
        for each in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(each, stopped.set)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


async def _work(settings: OperatorSettings, manager: Manager, stopped: asyncio.Event) -> None:
    await manager.connect()
    await manager.start()
    failures = 0
    while True:
        began = asyncio.get_running_loop().time()
        try:
            await _run_kopf(settings, manager, stopped)
            problem = "kopf ended"
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        failures = 1 if asyncio.get_running_loop().time() - began > _WELL_SECONDS else failures + 1
        pause = pause_after(failures, first=_FIRST_PAUSE, last=_LAST_PAUSE)
        log.warning("kopf_starts_anew", error=problem, pause=round(pause, 2))
        manager.note_trouble("kopf", f"is started anew, {failures} times by now: {problem}")
        await asyncio.sleep(pause)
        await manager.resume()


async def _run_kopf(settings: OperatorSettings, manager: Manager, stopped: asyncio.Event) -> None:
    """kopf's root tasks until one of them ends, then all of them. `kopf.operator` would also cancel every other task
    of the event loop.
    """
    tasks = await kopf.spawn_tasks(
        memo=kopf.Memo(manager=manager),
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stopped,
        # kopf would else ask for the user's name, which a UID without a passwd entry hasn't got.
        identity=settings.identity,  # type: ignore[arg-type]  # kopf doesn't export its type
    )
    _mind_signals(stopped)  # kopf's handlers end kopf alone
    try:
        ended, _ = await asyncio.wait(tasks, timeout=_WELL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            manager.note_trouble("kopf", None)
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
    """Sets kopf up to write nothing, and starts the machinery where nobody else has."""
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
    settings.watching.reconnect_backoff = 1.0
    if "manager" not in memo:
        configure_logging()
        settings_here = OperatorSettings.from_environment()
        memo.manager = Manager(settings_here, on_failure=lambda: signal.raise_signal(signal.SIGTERM))
        await memo.manager.connect()
        memo.end = memo.manager.stop
        await memo.manager.start()


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


@kopf.on.event(_GROUP, _VERSION, "trainingpolicies")
async def see_policy(event: Any, memo: Any, **_: Any) -> None:
    """A TrainingPolicy appeared, changed or went."""
    _take(memo.manager, memo.manager.cluster.policies, event)


def _take(manager: Manager, store: Store, event: Any) -> None:
    if event["type"] is None:  # of a list, and a list comes after a gap
        manager.note_gap()
    manager.take(store, event["object"], deleted=event["type"] == "DELETED")
