"""Actors that play other people's schedulers, from what these say of themselves: they bind pods, or let a scheduler do
so, and report them as kubelets would. They look at everything again and again, so that nothing depends on an order.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from footplate.devcluster.client import MERGE, STRATEGIC, ApiClient
from footplate.devcluster.environment import pod_address
from footplate.devcluster.podstatus import ContainerStatus, pod_status, running, terminated, timestamp
from footplate.errors import AlreadyExists, ApiError, Conflict, NotFound
from pod_player import node_name

Object = dict[str, Any]

LOOK_SECONDS = 0.05
JSON_PATCH = "application/json-patch+json"


class Kubelets:
    """Report bound pods as Running, end those whose job is told to be done, and take deleted ones away."""

    def __init__(self, client: ApiClient, namespace: str) -> None:
        self.client = client
        self.pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self.done: set[str] = set()
        """Names of jobs whose pods end well now."""
        self._reported: dict[str, ContainerStatus] = {}

    async def look(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            with suppress(NotFound, Conflict):
                await self._play(pod)

    async def _play(self, pod: Object) -> None:
        metadata, spec, status = pod["metadata"], pod["spec"], pod["status"]
        if metadata.get("deletionTimestamp"):
            if spec.get("nodeName") and status.get("phase") == "Running":
                await self._report(pod, exit_code=143)
            if spec.get("nodeName"):
                body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                await self.client.request("DELETE", f"{self.pods_path}/{metadata['name']}", body)
        elif spec.get("nodeName") and status.get("phase") == "Pending":
            await self._report(pod)
        elif status.get("phase") == "Running" and metadata["labels"]["footplate.dev/job"] in self.done:
            await self._report(pod, exit_code=0)

    async def _report(self, pod: Object, *, exit_code: int | None = None) -> None:
        metadata, container = pod["metadata"], pod["spec"]["containers"][0]
        seen = self._reported.setdefault(
            metadata["uid"], ContainerStatus(container["name"], container["image"], running())
        )
        if exit_code is not None:
            seen.state = terminated(seen.state, exit_code)
        address = pod_address(metadata["namespace"], metadata["name"])
        status = pod_status([seen], (), address=address, before=pod["status"])
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        await self.client.request("PATCH", f"{self.pods_path}/{metadata['name']}/status", patch, kind=STRATEGIC)


class Player(ABC):
    """A scheduler with so many places for pods, in one namespace."""

    def __init__(self, client: ApiClient, namespace: str, *, places: int) -> None:
        self.client = client
        self.namespace = namespace
        self.places = places
        self.kubelets = Kubelets(client, namespace)
        self.running: Counter[str] = Counter()
        """Most pods of an attempt that were seen running at once, by name of the group."""
        self._next_node = 0

    async def play(self) -> None:
        """Plays until cancelled."""
        while True:
            pods = (await self.client.request("GET", self.kubelets.pods_path))["items"]
            self._note(pods)
            with suppress(NotFound, Conflict, AlreadyExists):
                await self.schedule(pods)
            await self.kubelets.look(pods)
            await asyncio.sleep(LOOK_SECONDS)

    @abstractmethod
    async def schedule(self, pods: list[Object]) -> None:
        """Does what the scheduler does about these pods."""

    @abstractmethod
    def group_of(self, pod: Object) -> str:
        """Name of the group that a pod says it belongs to, empty where it says none."""

    def grouped(self, pods: Iterable[Object]) -> dict[str, list[Object]]:
        groups = defaultdict(list)
        for pod in pods:
            if name := self.group_of(pod):
                groups[name].append(pod)
        return groups

    def free(self, pods: Iterable[Object]) -> int:
        """Places that no bound pod holds."""
        return self.places - sum(is_bound(pod) and not is_over(pod) for pod in pods)

    async def bind(self, pod: Object) -> None:
        self._next_node += 1
        node = node_name(self._next_node % self.places)
        name = pod["metadata"]["name"]
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
        with suppress(NotFound, Conflict):
            await self.client.request("POST", f"{self.kubelets.pods_path}/{name}/binding", binding)

    async def report_unschedulable(self, pods: Iterable[Object], message: str) -> None:
        """As a scheduler says it of pods that it can't place."""
        said = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        for pod in pods:
            before: Object = next((c for c in pod["status"].get("conditions", ()) if c["type"] == "PodScheduled"), {})
            if before.get("message") != message:
                path = f"{self.kubelets.pods_path}/{pod['metadata']['name']}/status"
                body = {"status": {"conditions": [{**said, "lastTransitionTime": timestamp()}]}}
                with suppress(NotFound, Conflict):
                    await self.client.request("PATCH", path, body, kind=STRATEGIC)

    def _note(self, pods: list[Object]) -> None:
        for name, members in self.grouped(pods).items():
            at_work = sum(pod["status"].get("phase") == "Running" for pod in members)
            self.running[name] = max(self.running[name], at_work)


class PodGroupPlayer(Player):
    """Binds a group once as many of it as `minMember` says are there and find places, and else none of it."""

    scheduler: str
    api: str

    async def schedule(self, pods: list[Object]) -> None:
        mine = [pod for pod in pods if pod["spec"].get("schedulerName") == self.scheduler]
        for pod in mine:
            if not self.group_of(pod) and not is_bound(pod) and self.free(pods) > 0:
                await self.bind(pod)
        free = self.free(pods)
        for name, members in sorted(self.grouped(mine).items()):
            group = await self.client.request("GET", f"{self.groups_path}/{name}")
            waiting = [pod for pod in members if not is_bound(pod) and not pod["metadata"].get("deletionTimestamp")]
            taking = waiting[: max(0, free)]
            held = sum(is_bound(pod) for pod in members)
            fits = self.admits(group) and held + len(taking) >= group["spec"]["minMember"]
            await self.tell(group, fits=fits, waiting=len(waiting))
            if not waiting:
                continue
            if not fits:
                await self.report_unschedulable(waiting, f"pod group {name}: {len(waiting)} wait, {free} find a node")
                continue
            for pod in taking:
                await self.bind(pod)
            free -= len(taking)

    def admits(self, group: Object) -> bool:
        """Whether the group's queue lets it in at all."""
        return True

    @property
    def groups_path(self) -> str:
        return f"/apis/{self.api}/namespaces/{self.namespace}/podgroups"

    @abstractmethod
    async def tell(self, group: Object, *, fits: bool, waiting: int) -> None:
        """Writes what the scheduler says of a group."""

    async def patch_status(self, group: Object, status: Object) -> None:
        if (group.get("status") or {}) != status:
            path = f"{self.groups_path}/{group['metadata']['name']}/status"
            with suppress(NotFound, Conflict, ApiError):
                await self.client.request("PATCH", path, {"status": status}, kind=MERGE)


class Coscheduling(PodGroupPlayer):
    """The plugin of scheduler-plugins, with its PodGroup controller."""

    scheduler = "scheduler-plugins-scheduler"
    api = "scheduling.x-k8s.io/v1alpha1"

    def group_of(self, pod: Object) -> str:
        return str(pod["metadata"]["labels"].get("scheduling.x-k8s.io/pod-group", ""))

    async def tell(self, group: Object, *, fits: bool, waiting: int) -> None:
        await self.patch_status(group, {"phase": "Running" if fits and not waiting else "Scheduling"})


class Volcano(PodGroupPlayer):
    """Volcano's scheduler, with one queue."""

    scheduler = "volcano"
    api = "scheduling.volcano.sh/v1beta1"
    queue = "vision"

    def group_of(self, pod: Object) -> str:
        return str(pod["metadata"].get("annotations", {}).get("scheduling.k8s.io/group-name", ""))

    def admits(self, group: Object) -> bool:
        return bool(group["spec"]["queue"] == self.queue)

    async def tell(self, group: Object, *, fits: bool, waiting: int) -> None:
        if not self.admits(group):
            await self.patch_status(group, {"phase": "Pending"})
            return
        words = f"{waiting}/{group['spec']['minMember']} tasks in gang unschedulable: pod group is not ready"
        said = {"type": "Unschedulable", "status": "True", "reason": "NotEnoughResources", "message": words}
        await self.patch_status(group, {"phase": "Running"} if fits else {"phase": "Inqueue", "conditions": [said]})


def is_bound(pod: Object) -> bool:
    return bool(pod["spec"].get("nodeName"))


def is_over(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")
