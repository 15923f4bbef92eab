"""Replicas at work: jobs that come and go all the time, jobs that nothing may befall, and somebody who sees it all."""

import asyncio
import random
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Self

from failover.judge import Record, Sent
from failover.member import NAMESPACE, Member, until
from footplate.devcluster.client import ApiClient
from footplate.errors import AlreadyExists, NotFound
from pod_player import Fate, PodPlayer, make_nodes
from soak.stories import NODES, STORIES, Story, fate_of
from soak.witness import JOBS, PODS, Stuck, Witness

_NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
OptionsOf = Callable[[str], Mapping[str, Any]]
"""How a member of this name is set up."""

HEALTHY = 3
LANES = 3


class Site:
    """`async with Site(kubeconfig, folder, seed=…) as site`: nobody is at work, and nothing begins before `begin`."""

    def __init__(self, kubeconfig: Mapping[str, Any], folder: Path, *, seed: int, options_of: OptionsOf) -> None:
        self._options_of = options_of
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._chance = random.Random(seed)
        self.members: list[Member] = []
        self.retired: list[Member] = []
        self.stuck: list[str] = []
        self.told = 0
        self._telling = True

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self.client = await stack.enter_async_context(ApiClient(self._kubeconfig))
            with suppress(AlreadyExists):
                await self.client.request("POST", "/api/v1/namespaces", _NAMESPACE)
            await make_nodes(self.client, len(NODES))
            self.witness = Witness(self.client)
            player = PodPlayer(self.client, nodes=len(NODES), fate=_fate_of)
            for work in (self.witness.run(), player.run()):
                stack.push_async_callback(_end, asyncio.create_task(work))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def add(self) -> Member:
        """One more replica, which starts."""
        name = f"replica-{len(self.members) + len(self.retired)}"
        member = Member(name, self._kubeconfig, self._folder, **self._options_of(name))
        self.members.append(await self._stack.enter_async_context(member))
        return member

    async def retire(self, member: Member) -> None:
        """Ends one for good."""
        self.members.remove(member)
        self.retired.append(member)
        await member.retire()

    async def begin(self) -> None:
        """Once all replicas are ready: the jobs that nothing may befall run, and others come and go."""
        for member in self.members:
            await until(member.is_ready, f"{member.name} is ready")
        await self._begin_healthy()
        self._lanes = [asyncio.create_task(self._tell_on(lane)) for lane in range(LANES)]
        self._stack.push_async_callback(self._stop_telling)

    async def finish(self) -> None:
        """The stories that are being told come to their end, all jobs run as they should, and none comes any more."""
        self._telling = False
        await asyncio.gather(*self._lanes)

    def record(self) -> Record:
        """All that was written so far. Its writes belong to the process that was at work when they came."""
        everybody = (*self.members, *self.retired)
        return Record(
            [Sent(member.process_at(each.at), each) for member in everybody for each in member.gateway.writes]
        )

    def leader(self) -> Member | None:
        """Who holds the lease, by what the API server has been told."""
        holder = self.record().holder()
        return next((member for member in self.members if member.process == holder), None)

    async def harmed(self) -> list[str]:
        """What befell the jobs that nothing may befall."""
        pods = {each["metadata"]["name"]: each["metadata"]["uid"] for each in (await self._pods())}
        found = [f"pod {name} went" for name, uid in self._healthy.items() if pods.get(name) != uid]
        for number in range(HEALTHY):
            status = (await self.client.request("GET", f"{JOBS}/healthy-{number}")).get("status") or {}
            stands = {key: status.get(key) for key in ("phase", "run", "attempt")} | {"restarts": _restarts(status)}
            if stands != {"phase": "Running", "run": 1, "attempt": 0, "restarts": 0}:
                found.append(f"healthy-{number}: {stands}")
        return found

    async def clean_up(self) -> None:
        """For the next site in the same cluster."""
        for job in (await self.client.request("GET", JOBS))["items"]:
            with suppress(NotFound):
                await self.client.request("DELETE", f"{JOBS}/{job['metadata']['name']}")

    async def _begin_healthy(self) -> None:
        for number in range(HEALTHY):
            job = Story(self.client, self.witness, f"healthy-{number}", nodes=2)
            await job.apply()
            await job.reach("Running", attempt=0)
        self._healthy = {
            each["metadata"]["name"]: each["metadata"]["uid"]
            for each in await self._pods()
            if each["metadata"]["name"].startswith("healthy-")
        }
        assert len(self._healthy) == 2 * HEALTHY

    async def _pods(self) -> list[Mapping[str, Any]]:
        return list((await self.client.request("GET", PODS))["items"])

    async def _tell_on(self, lane: int) -> None:
        number = 0
        while self._telling:
            number += 1
            title = self._chance.choice(list(STORIES))
            job = Story(self.client, self.witness, f"{title}-{lane}-{number}", nodes=self._chance.choice(NODES))
            try:
                await STORIES[title][0](job)
                await job.delete()
                self.told += 1
            except Stuck as error:
                self.stuck.append(str(error))
                with suppress(NotFound):
                    await job.delete()

    async def _stop_telling(self) -> None:
        self._telling = False
        for lane in self._lanes:
            lane.cancel()
        await asyncio.gather(*self._lanes, return_exceptions=True)


def _restarts(status: Mapping[str, Any]) -> int:
    return int((status.get("restarts") or {}).get("total", 0))


def _fate_of(pod: Mapping[str, Any]) -> Fate | None:
    return None if pod["metadata"]["name"].startswith("healthy-") else fate_of(pod)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
