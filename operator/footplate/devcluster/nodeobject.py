"""One Node in the API: as its kubelet writes it while it lives, and the node lifecycle controller when it is silent."""

import math
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime

from footplate.devcluster.client import MERGE, STRATEGIC, ApiClient
from footplate.devcluster.podstatus import timestamp
from footplate.errors import AlreadyExists, NotFound

_UNREACHABLE = "node.kubernetes.io/unreachable"
_LIFECYCLE_TAINTS = {_UNREACHABLE, "node.kubernetes.io/not-ready"}
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"


class NodeObject:
    """A Node and its Lease."""

    def __init__(
        self,
        client: ApiClient,
        name: str,
        *,
        capacity: Mapping[str, str],
        labels: Mapping[str, str],
        lease_seconds: float,
    ) -> None:
        self._client = client
        self._name = name
        self._path = f"/api/v1/nodes/{name}"
        self._capacity = capacity
        self._labels = labels
        self._lease_seconds = math.ceil(lease_seconds)

    async def register(self) -> None:
        """Creates the Node, or takes over one that is there, and reports it ready."""
        labels = {"kubernetes.io/hostname": self._name, "kubernetes.io/os": "linux", **self._labels}
        addresses = [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": self._name}]
        status = {"capacity": self._capacity, "allocatable": self._capacity, "addresses": addresses}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self._name, "labels": labels}}
        with suppress(AlreadyExists):
            await self._client.request("POST", "/api/v1/nodes", {**node, "spec": {}, "status": status})
        await self._client.request("PATCH", f"{self._path}/status", {"status": status}, kind=STRATEGIC)
        await self.set_ready(True)

    async def set_ready(self, ready: bool) -> None:
        """Reports that the kubelet is well, or that it isn't heard of any more; taints the node accordingly."""
        node = await self._client.request("GET", self._path)
        taints = [each for each in node["spec"].get("taints") or () if each["key"] not in _LIFECYCLE_TAINTS]
        if ready:
            condition = {"status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
        else:
            message = "Kubelet stopped posting node status."
            condition = {"status": "Unknown", "reason": "NodeStatusUnknown", "message": message}
            taints += [{"key": _UNREACHABLE, "effect": effect} for effect in ("NoSchedule", "NoExecute")]
        times = {"lastHeartbeatTime": timestamp(), "lastTransitionTime": timestamp()}
        status = {"conditions": [{"type": "Ready", **condition, **times}]}
        await self._client.request("PATCH", f"{self._path}/status", {"status": status}, kind=STRATEGIC)
        await self._client.request("PATCH", self._path, {"spec": {"taints": taints}}, kind=MERGE)

    async def renew(self) -> None:
        """A heartbeat: the condition's and the Lease's times. Raises NotFound where the Node was deleted."""
        status = {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": timestamp()}]}
        await self._client.request("PATCH", f"{self._path}/status", {"status": status}, kind=STRATEGIC)
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": self._name, "leaseDurationSeconds": self._lease_seconds, "renewTime": now}
        try:
            await self._client.request("PATCH", f"{_LEASES}/{self._name}", {"spec": spec}, kind=MERGE)
        except NotFound:
            metadata = {"name": self._name}
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            with suppress(AlreadyExists):
                await self._client.request("POST", _LEASES, lease)
