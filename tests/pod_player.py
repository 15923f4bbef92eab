"""Plays scheduler and kubelets for pods that nobody runs, as cheaply as it can be done: for tests of many pods.

Every pod of the operator's is bound at once to one of a row of Nodes, reported Running by one patch, ended as its fate
says, and taken away when it is deleted. It counts what it does.
"""

import asyncio
import math
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from footplate.contract import MANAGED_SELECTOR
from footplate.devcluster.client import STRATEGIC, ApiClient
from footplate.devcluster.environment import pod_address
from footplate.devcluster.podstatus import ContainerStatus, pod_status, running, terminated, timestamp
from footplate.errors import AlreadyExists, Conflict, NotFound

Object = Mapping[str, Any]
PODS_PER_NODE = 110


@dataclass(frozen=True)
class Fate:
    """How a pod ends by itself: so many seconds after it began to run, with this exit code."""

    seconds: float
    code: int = 0


class PodPlayer:
    """`fate` says of each pod how it ends; None: it runs until it is deleted."""

    def __init__(self, client: ApiClient, *, nodes: int, fate: Callable[[Object], Fate | None]) -> None:
        self._client = client
        self._nodes = nodes
        self._fate = fate
        self._begun: set[str] = set()
        self._ending: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.played: Counter[str] = Counter()
        """Pods by what was done to them: running, ended, removed."""

    async def run(self) -> None:
        """Plays until cancelled."""
        try:
            async for kind, data in self._client.follow(f"/api/v1/pods?labelSelector={MANAGED_SELECTOR}"):
                for pod in data if kind == "LIST" else [data]:
                    self._see(pod, gone=kind == "DELETED")
        finally:
            for task in self._tasks:
                task.cancel()

    def _see(self, pod: Object, *, gone: bool) -> None:
        uid = pod["metadata"]["uid"]
        if gone:
            self._begun.discard(uid)
            self._ending.discard(uid)
        elif pod["metadata"].get("deletionTimestamp"):
            if uid not in self._ending:
                self._ending.add(uid)
                self._spawn(self._remove(pod))
        elif uid not in self._begun and pod["status"].get("phase") == "Pending":
            self._begun.add(uid)
            self._spawn(self._live(pod))

    async def _live(self, pod: Object) -> None:
        if not pod["spec"].get("nodeName"):
            await self._bind(pod)
        container = pod["spec"]["containers"][0]
        status = ContainerStatus(container["name"], container["image"], running())
        reported = await self._report(pod, status, before={})
        self.played["running"] += 1
        if (fate := self._fate(pod)) is None:
            return
        await asyncio.sleep(fate.seconds)
        status.state = terminated(status.state, fate.code)
        await self._report(pod, status, before=reported)
        self.played["ended"] += 1

    async def _bind(self, pod: Object) -> None:
        metadata = pod["metadata"]
        node = node_name(zlib.crc32(metadata["uid"].encode()) % self._nodes)
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": metadata["name"]}, "target": target}
        await _tolerating(self._client.request("POST", f"{_path(pod)}/binding", binding))

    async def _report(self, pod: Object, container: ContainerStatus, *, before: Object) -> Object:
        metadata = pod["metadata"]
        address = pod_address(metadata["namespace"], metadata["name"])
        status = pod_status([container], (), address=address, before=before)
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await _tolerating(self._client.request("PATCH", f"{_path(pod)}/status", patch, kind=STRATEGIC))
        return status

    async def _remove(self, pod: Object) -> None:
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        await _tolerating(self._client.request("DELETE", _path(pod), body))
        self.played["removed"] += 1

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def node_name(index: int) -> str:
    """Name of a Node of the row."""
    return f"node-{index:05}"


def nodes_for(pods: int) -> int:
    """How many Nodes so many pods need."""
    return max(1, math.ceil(pods / PODS_PER_NODE))


async def make_nodes(client: ApiClient, count: int) -> None:
    """A row of Nodes that are ready for ever."""
    condition = {"type": "Ready", "status": "True", "lastHeartbeatTime": timestamp(), "lastTransitionTime": timestamp()}
    for index in range(count):
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node_name(index)}}
        with suppress(AlreadyExists):
            await client.request("POST", "/api/v1/nodes", {**node, "status": {"conditions": [condition]}})


def _path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


async def _tolerating(work: Awaitable[Any]) -> None:
    """Does it, if there is still anybody to whom it may be done."""
    with suppress(NotFound, Conflict):
        await work
