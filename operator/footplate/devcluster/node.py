"""The devcluster's nodes: an ordinary API client that plays scheduler, kubelets and node lifecycle controller.

It works the same against any kube-apiserver that has no scheduler and no kubelets of its own. Each pod that it binds to
one of its nodes runs as local processes, or is pretended to run where a test needs the objects only. Its faults (a node
that dies, a frozen pod, an eviction) look to everyone else as they do on a real cluster.
"""

import asyncio
import signal
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from footplate.devcluster.client import MERGE, STRATEGIC, ApiClient, Object
from footplate.devcluster.container import Host
from footplate.devcluster.images import Images
from footplate.devcluster.nodeobject import NodeObject
from footplate.devcluster.pod import PodRunner, PretendedPod, log_failure
from footplate.devcluster.podstatus import timestamp
from footplate.devcluster.process import Keeper
from footplate.devcluster.scheduling import Load, Unschedulable, place
from footplate.errors import ApiUnavailable, Conflict, NotFound

CAPACITY: Mapping[str, str] = {"cpu": "8", "memory": "32Gi", "pods": "110"}
"""Of each node, unless told otherwise. It is countable, not real: the nodes share the host's cores and memory."""


class Nodes:
    """`async with Nodes(kubeconfig, folder) as nodes`: registered, ready and scheduling; nothing runs on after it."""

    def __init__(
        self,
        kubeconfig: Mapping[str, Any],
        folder: Path,
        *,
        count: int = 2,
        capacity: Mapping[str, str] = CAPACITY,
        labels: Mapping[str, str] | None = None,
        pretend: bool = False,
        heartbeat_seconds: float = 10.0,
        grace_seconds: float = 40.0,
        images: Images | None = None,
    ) -> None:
        self.names = [f"node-{index}" for index in range(count)]
        self._client = ApiClient(kubeconfig)
        self._keeper = Keeper()
        self.host = Host(self._client, self._keeper, folder.absolute(), images=images or Images())
        self._run_pod = PretendedPod if pretend else PodRunner
        self._objects = {
            name: NodeObject(
                self._client, name, capacity={**CAPACITY, **capacity}, labels=labels or {}, lease_seconds=grace_seconds
            )
            for name in self.names
        }
        self._heartbeat_seconds = heartbeat_seconds
        self._grace_seconds = grace_seconds
        self._alive = set(self.names)
        self._nodes: dict[str, Object] = {}
        self._pods: dict[str, Object] = {}
        self._bound: dict[str, str] = {}
        """Nodes by UID of the pods that were bound, but not yet seen so."""
        self._runners: dict[str, PodRunner] = {}
        self._ending: set[str] = set()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Nodes":
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._client)
            await stack.enter_async_context(self._keeper)
            stack.push_async_callback(self._stop)
            await asyncio.gather(*(each.register() for each in self._objects.values()))
            for loop in (self._follow_nodes, self._follow_pods, self._schedule, self._beat) if self.names else ():
                self._spawn(loop())
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def kill_pod(self, namespace: str, name: str, number: int = signal.SIGKILL) -> None:
        """Sends a signal to the main process of each container."""
        self._runner(namespace, name).signal(number)

    def freeze_pod(self, namespace: str, name: str) -> None:
        """Stops every process of the pod where it is: it hangs."""
        self._runner(namespace, name).signal(signal.SIGSTOP, everyone=True)

    def thaw_pod(self, namespace: str, name: str) -> None:
        """Lets a frozen pod go on."""
        self._runner(namespace, name).signal(signal.SIGCONT, everyone=True)

    def finish_pod(self, namespace: str, name: str, *, code: int = 0, message: str = "") -> None:
        """Ends a pod that is only pretended to run, with this exit code and termination message."""
        runner = self._runner(namespace, name)
        if not isinstance(runner, PretendedPod):
            raise TypeError(f"pod {namespace}/{name} is a real process: it ends by itself or by kill_pod")
        runner.finish(code, message)

    async def evict(self, namespace: str, name: str) -> None:
        """Evicts a pod as the eviction API does: says why, then deletes it with its grace."""
        path = f"/api/v1/namespaces/{namespace}/pods/{name}"
        pod = await self._client.request("GET", path)
        reason = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
        condition = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": timestamp(), **reason}
        await self._client.request("PATCH", f"{path}/status", {"status": {"conditions": [condition]}}, kind=STRATEGIC)
        await self._client.request("DELETE", path, {"preconditions": {"uid": pod["metadata"]["uid"]}})

    async def drain(self, node: str) -> None:
        """Makes a node unschedulable and evicts its pods."""
        await self._client.request("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}}, kind=MERGE)
        pods = [pod["metadata"] for pod in self._pods.values() if pod["spec"].get("nodeName") == node]
        await asyncio.gather(*(self.evict(each["namespace"], each["name"]) for each in pods))

    async def die(self, node: str) -> None:
        """A power failure: its processes are gone, its heartbeats end, its pods' status stays as it was last reported.

        After the grace period the node's Ready becomes Unknown and it is tainted: the node lifecycle controller's part.
        """
        self._alive.discard(node)
        uids = [uid for uid, pod in self._pods.items() if pod["spec"].get("nodeName") == node]
        lost = [self._runners[uid] for uid in uids if uid in self._runners]
        await asyncio.gather(*(runner.kill() for runner in lost))
        self._spawn(self._declare_lost(node))

    async def revive(self, node: str) -> None:
        """The node comes back; its pods that ran are reported as lost."""
        self._alive.add(node)
        await self._objects[node].set_ready(True)
        for uid, pod in list(self._pods.items()):
            if pod["spec"].get("nodeName") == node:
                self._runners.pop(uid, None)
                self._observe(pod)

    async def partition(self, node: str) -> None:
        """The node's kubelet can't reach the API: nothing is heard of it, and it hears nothing. Its pods live on, and
        may reach each other and the storage. After the grace period the node is declared lost, as with `die`.
        """
        self._alive.discard(node)
        self.host.cut_off(node)
        self._spawn(self._declare_lost(node))

    async def heal(self, node: str) -> None:
        """The partition ends: what happened meanwhile is reported, and pods that were deleted meanwhile are ended."""
        self.host.reconnect(node)
        self._alive.add(node)
        await self._objects[node].set_ready(True)
        for uid in [uid for uid, runner in self._runners.items() if runner.node == node and uid not in self._pods]:
            self._forget(uid)
        for pod in [pod for pod in self._pods.values() if pod["spec"].get("nodeName") == node]:
            self._observe(pod)

    def volume(self, namespace: str, name: str, volume: str) -> Path:
        """The folder of a running pod's volume, for who wants to look over its shoulder."""
        return self._runner(namespace, name).volume(volume)

    async def _declare_lost(self, node: str) -> None:
        await asyncio.sleep(self._grace_seconds)
        if node in self._alive:
            return
        await self._objects[node].set_ready(False)
        condition = {"type": "Ready", "status": "False", "lastTransitionTime": timestamp()}
        for pod in [pod for pod in self._pods.values() if pod["spec"].get("nodeName") == node]:
            await self._patch_pod(pod, {"conditions": [condition]})

    async def _beat(self) -> None:
        while True:
            with suppress(ApiUnavailable, NotFound):  # who deletes a Node object takes the node out of the cluster
                await asyncio.gather(*(self._objects[name].renew() for name in self._alive))
            await asyncio.sleep(self._heartbeat_seconds)

    async def _follow_nodes(self) -> None:
        async for kind, data in self._client.follow("/api/v1/nodes"):
            if kind == "LIST":
                self._nodes.clear()
            for node in data if kind == "LIST" else [data]:
                name = node["metadata"]["name"]
                if kind == "DELETED":
                    self._nodes.pop(name, None)
                elif name in self._objects:
                    self._nodes[name] = node
            self._changed.set()

    async def _follow_pods(self) -> None:
        async for kind, data in self._client.follow("/api/v1/pods"):
            if kind == "LIST":
                for uid in self._pods.keys() - {pod["metadata"]["uid"] for pod in data}:
                    self._forget(uid)
            if kind == "DELETED":
                self._forget(data["metadata"]["uid"])
            else:
                for pod in data if kind == "LIST" else [data]:
                    self._observe(pod)
            self._changed.set()

    def _observe(self, pod: Object) -> None:
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        self._pods[uid] = pod
        if node:
            self._bound.pop(uid, None)
        if node and node not in self._alive:
            return
        if _deleting(pod):
            if uid not in self._ending:
                self._ending.add(uid)
                self._spawn(self._end(pod))
        elif node and uid not in self._runners and not _finished(pod):
            self._runners[uid] = runner = self._run_pod(pod, self.host)
            if pod["status"].get("phase") == "Running":
                self._spawn(runner.report_lost())
            else:
                runner.start()

    def _forget(self, uid: str) -> None:
        self._pods.pop(uid, None)
        self._bound.pop(uid, None)
        self._ending.discard(uid)
        runner = self._runners.get(uid)
        if runner is not None and not self.host.is_cut_off(runner.node):
            del self._runners[uid]
            self._spawn(runner.remove())

    async def _end(self, pod: Object) -> None:
        metadata = pod["metadata"]
        if runner := self._runners.get(metadata["uid"]):
            await runner.end(grace=metadata.get("deletionGracePeriodSeconds") or 0)
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        with suppress(NotFound, Conflict):
            await self._client.request("DELETE", _pod_path(pod), body)
        self._ending.discard(metadata["uid"])

    async def _schedule(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            pending = [pod for pod in self._pods.values() if not self._node_of(pod) and not _deleting(pod)]
            load = Load()
            for pod in self._pods.values() if pending else ():
                if (node := self._node_of(pod)) and not _finished(pod):
                    load.add(node, pod)
            await asyncio.gather(*(self._place(pod, load) for pod in pending))

    def _node_of(self, pod: Object) -> str | None:
        return pod["spec"].get("nodeName") or self._bound.get(pod["metadata"]["uid"])

    async def _place(self, pod: Object, load: Load) -> None:
        if pod["spec"].get("schedulingGates"):
            await self._refuse(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
            return
        try:
            node = place(pod, list(self._nodes.values()), load)
        except Unschedulable as error:
            await self._refuse(pod, "Unschedulable", str(error))
            return
        load.add(node, pod)
        uid = pod["metadata"]["uid"]
        self._bound[uid] = node
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod["metadata"]["name"]}}
        binding["target"] = {"apiVersion": "v1", "kind": "Node", "name": node}
        try:
            await self._client.request("POST", f"{_pod_path(pod)}/binding", binding)
        except (NotFound, Conflict):  # deleted meanwhile, or bound although the answer was lost
            self._bound.pop(uid, None)

    async def _refuse(self, pod: Object, reason: str, message: str) -> None:
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        before = {each["type"]: each for each in pod["status"].get("conditions") or ()}.get("PodScheduled", {})
        if any(before.get(key) != value for key, value in condition.items()):
            condition["lastTransitionTime"] = before.get("lastTransitionTime") or timestamp()
            await self._patch_pod(pod, {"conditions": [condition]})

    async def _patch_pod(self, pod: Object, status: Object) -> None:
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        with suppress(NotFound, Conflict):
            await self._client.request("PATCH", f"{_pod_path(pod)}/status", patch, kind=STRATEGIC)

    def _runner(self, namespace: str, name: str) -> PodRunner:
        for runner in self._runners.values():
            if (runner.namespace, runner.name) == (namespace, name):
                return runner
        raise KeyError(f"no pod {namespace}/{name} runs here")

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(log_failure)

    async def _stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(
            *self._tasks, *(runner.kill() for runner in self._runners.values()), return_exceptions=True
        )


def _pod_path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _deleting(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def _finished(pod: Object) -> bool:
    return pod["status"].get("phase") in ("Succeeded", "Failed")
