"""How each kind of fault is done to a job. Each says whether it found anything to harm; what lasts is undone in the
background.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from chaos.processes import processes_of
from chaos.schedule import Fault, Kind
from chaos.site import CORE, JOBS, NAMESPACE, Life, Site
from footplate.devcluster import faults
from footplate.devcluster.client import MERGE, Object
from footplate.devcluster.faults import Request
from footplate.errors import NotFound
from s3_proxy import Fault as S3Fault

OPERATOR = "^footplate-operator"
LASTING_SECONDS = 3.0
THAW_SECONDS = 7.0
"""By then the others have missed a frozen pod."""


class Harm:
    """Does faults to one job on a site. `async with` it: at the end all is undone."""

    def __init__(self, site: Site, life: Life) -> None:
        self._site = site
        self._life = life
        self._undoing: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Harm":
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*self._undoing)

    async def do(self, fault: Fault) -> bool:
        """Does it; False where there was nothing to do it to."""
        with suppress(NotFound, KeyError, ProcessLookupError, FileNotFoundError):  # gone in the moment between
            return await _HARMS[fault.kind](self, fault)
        return False

    def _later(self, seconds: float, undo: Callable[[], Awaitable[object] | None]) -> None:
        async def work() -> None:
            await asyncio.sleep(seconds)
            with suppress(NotFound, KeyError):
                if (waiting := undo()) is not None:
                    await waiting

        self._undoing.add(asyncio.create_task(work()))

    def _pod(self, fault: Fault) -> Object | None:
        pods = [pod for pod in self._life.gang if pod["spec"].get("nodeName")]
        return pods[fault.target % len(pods)] if pods else None

    def _rank(self, fault: Fault) -> int | None:
        """Process id of a rank; before there are any, of whatever the supervisors have started."""
        there = [each for each in processes_of(self._life.name) if each.attempt == self._life.attempt and not each.main]
        pids = {each.pid for each in there}
        ranks = [beat.pid for beat in self._site.beats(self._life).values() if beat.pid in pids] or sorted(pids)
        return ranks[fault.target % len(ranks)] if ranks else None

    async def signal_rank(self, fault: Fault, number: signal.Signals) -> bool:
        pid = self._rank(fault)
        if pid is not None:
            os.kill(pid, number)
        return pid is not None

    async def signal_pod(self, fault: Fault, number: signal.Signals) -> bool:
        pod = self._pod(fault)
        if pod is not None:
            self._site.nodes.kill_pod(NAMESPACE, pod["metadata"]["name"], number)
        return pod is not None

    async def freeze_pod(self, fault: Fault) -> bool:
        pod = self._pod(fault)
        if pod is None:
            return False
        name = pod["metadata"]["name"]
        self._site.nodes.freeze_pod(NAMESPACE, name)
        self._later(THAW_SECONDS + 3 * fault.extent, lambda: self._site.nodes.thaw_pod(NAMESPACE, name))
        return True

    async def delete_pod(self, fault: Fault, *, grace: int | None = None) -> bool:
        pod = self._pod(fault)
        if pod is None:
            return False
        body = None if grace is None else {"gracePeriodSeconds": grace}
        await self._site.client.request("DELETE", f"{CORE}/pods/{pod['metadata']['name']}", body)
        return True

    async def evict_pod(self, fault: Fault) -> bool:
        pod = self._pod(fault)
        if pod is not None:
            await self._site.nodes.evict(NAMESPACE, pod["metadata"]["name"])
        return pod is not None

    async def take_node(
        self,
        fault: Fault,
        take: Callable[[str], Coroutine[Any, Any, None]],
        give_back: Callable[[str], Coroutine[Any, Any, object]],
    ) -> bool:
        pod = self._pod(fault)
        if pod is None:
            return False
        node = pod["spec"]["nodeName"]
        await take(node)
        self._later(LASTING_SECONDS + 4 * fault.extent, lambda: give_back(node))
        return True

    async def uncordon(self, node: str) -> None:
        await self._site.client.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}}, kind=MERGE)

    async def suspend(self, fault: Fault) -> bool:
        if self._life.finished:
            return False
        await self._set_suspended(True)
        stopped = self._site.until(lambda: self._life.finished or self._life.status.get("phase") == "Suspended" or None)

        async def resume() -> None:
            await stopped
            await asyncio.sleep(fault.extent)
            await self._set_suspended(False)

        self._later(0, resume)
        return True

    async def _set_suspended(self, suspended: bool) -> None:
        body = {"spec": {"runPolicy": {"suspend": suspended}}}
        await self._site.client.request("PATCH", f"{JOBS}/{self._life.name}", body, kind=MERGE)

    async def damage(self, fault: Fault) -> bool:
        """Flips one bit of one file of the newest complete checkpoint, and makes the job need it."""
        damaged = await self._site.storage.damage(self._life.name, target=fault.target, extent=fault.extent)
        return damaged and await self.signal_pod(fault, signal.SIGKILL)

    async def kill_operator(self, fault: Fault) -> bool:
        self._site.operator.kill()
        return True

    async def kill_operator_at_write(self, fault: Fault) -> bool:
        left = 1 + fault.target % 8

        def strike(request: Request) -> faults.Fault | None:
            nonlocal left
            if not request.agent.startswith("footplate-operator") or "/events" in request.path:
                return None
            left -= 1
            if left != 0:
                return None
            self._site.operator.kill()
            return faults.Fault(cut="before" if fault.extent < 0.5 else "after")

        self._site.faults.on_write(strike)
        return True

    async def jump_clock(self, fault: Fault) -> bool:
        hours = 1 + fault.extent
        self._site.operator.set_clock_ahead(3600 * (hours if fault.target % 2 else -hours))
        self._later(2 * LASTING_SECONDS, lambda: self._site.operator.set_clock_ahead(0.0))
        return True

    async def break_api(self, fault: Fault, answer: faults.Fault, method: str = "") -> bool:
        rule = self._site.faults.add(answer, agent=OPERATOR, method=method, rate=0.3 + 0.4 * fault.extent)
        self._later(LASTING_SECONDS, lambda: self._site.faults.rules.remove(rule))
        return True

    async def cut_watches(self, fault: Fault) -> bool:
        """All who watch start anew; half of the times what happened meanwhile is forgotten too."""
        if fault.extent < 0.5:
            self._site.cluster.api.store.compact()
        return self._site.faults.cut_watches() > 0

    async def break_storage(self, fault: Fault, how: S3Fault) -> bool:
        proxy = self._site.proxy
        await asyncio.to_thread(proxy.strike, how)
        self._later(1 + LASTING_SECONDS * fault.extent, lambda: asyncio.to_thread(proxy.strike, None))
        return True


def _die(harm: Harm, fault: Fault) -> Awaitable[bool]:
    return harm.take_node(fault, harm._site.nodes.die, harm._site.nodes.revive)


def _partition(harm: Harm, fault: Fault) -> Awaitable[bool]:
    return harm.take_node(fault, harm._site.nodes.partition, harm._site.nodes.heal)


def _drain(harm: Harm, fault: Fault) -> Awaitable[bool]:
    return harm.take_node(fault, harm._site.nodes.drain, harm.uncordon)


_HARMS: Mapping[Kind, Callable[[Harm, Fault], Awaitable[bool]]] = {
    Kind.RANK_KILLED: lambda harm, fault: harm.signal_rank(fault, signal.SIGKILL),
    Kind.RANK_ASKED: lambda harm, fault: harm.signal_rank(fault, signal.SIGTERM),
    Kind.RANK_FROZEN: lambda harm, fault: harm.signal_rank(fault, signal.SIGSTOP),
    Kind.POD_KILLED: lambda harm, fault: harm.signal_pod(fault, signal.SIGKILL),
    Kind.POD_ASKED: lambda harm, fault: harm.signal_pod(fault, signal.SIGTERM),
    Kind.POD_FROZEN: Harm.freeze_pod,
    Kind.POD_DELETED: Harm.delete_pod,
    Kind.POD_DELETED_NOW: lambda harm, fault: harm.delete_pod(fault, grace=0),
    Kind.POD_EVICTED: Harm.evict_pod,
    Kind.NODE_DRAINED: _drain,
    Kind.NODE_DIED: _die,
    Kind.NODE_PARTITIONED: _partition,
    Kind.SUSPENDED: Harm.suspend,
    Kind.DAMAGED: Harm.damage,
    Kind.OPERATOR_KILLED: Harm.kill_operator,
    Kind.OPERATOR_KILLED_AT_WRITE: Harm.kill_operator_at_write,
    Kind.CLOCK_JUMPED: Harm.jump_clock,
    Kind.API_THROTTLED: lambda harm, fault: harm.break_api(fault, faults.Fault(status=429, retry_after=1)),
    Kind.API_BROKEN: lambda harm, fault: harm.break_api(fault, faults.Fault(status=500)),
    Kind.API_ANSWERS_LOST: lambda harm, fault: harm.break_api(
        fault, faults.Fault(cut="after"), "POST|PATCH|PUT|DELETE"
    ),
    Kind.WATCHES_CUT: Harm.cut_watches,
    Kind.S3_REFUSED: lambda harm, fault: harm.break_storage(fault, S3Fault.REFUSED),
    Kind.S3_SILENT: lambda harm, fault: harm.break_storage(fault, S3Fault.SILENT),
    Kind.S3_SLOW: lambda harm, fault: harm.break_storage(fault, S3Fault.SLOW),
    Kind.S3_SLOW_DOWN: lambda harm, fault: harm.break_storage(fault, S3Fault.SLOW_DOWN),
    Kind.S3_CUT: lambda harm, fault: harm.break_storage(fault, S3Fault.CUT),
    Kind.S3_LOST: lambda harm, fault: harm.break_storage(fault, S3Fault.LOST),
}
