"""An actor that plays Kueue and, for what it admits, the cluster's scheduler.

Its webhook's part it does as soon as it sees a pod: Kueue's finalizer and its `managed` label. The gate is there
already, since the operator puts it there. A group whose pods are all there gets a Workload, which is admitted where the
quota has room, and its pods lose the gate. Finalizers go from groups that aren't retriable once their pods are over; of
pods that were deleted in the queue they go only when the Workload does, as with Kueue 0.13.1.
"""

from contextlib import suppress
from typing import Any

from footplate.devcluster.client import MERGE, STRATEGIC
from footplate.devcluster.podstatus import timestamp
from footplate.errors import AlreadyExists, Conflict, NotFound
from schedulers.players import JSON_PATCH, Object, Player, is_bound, is_over

QUEUE = "kueue.x-k8s.io/queue-name"
GROUP = "kueue.x-k8s.io/pod-group-name"
MANAGED = "kueue.x-k8s.io/managed"
GATE = "kueue.x-k8s.io/admission"


class Kueue(Player):
    """Has the LocalQueues named in `queues`, which share `places` pods of quota."""

    api = "kueue.x-k8s.io/v1beta2"

    def __init__(self, *arguments: Any, queues: tuple[str, ...], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.queues = set(queues)
        self.priorities: dict[str, str] = {}
        """Priority classes that the pods of a group named."""

    def group_of(self, pod: Object) -> str:
        return str(pod["metadata"]["labels"].get(GROUP, ""))

    async def schedule(self, pods: list[Object]) -> None:
        queued = [pod for pod in pods if QUEUE in pod["metadata"]["labels"]]
        for pod in queued:
            if MANAGED not in pod["metadata"]["labels"] and not pod["metadata"].get("deletionTimestamp"):
                await self._manage(pod)
        for name, members in sorted(self.grouped(queued).items()):
            await self._look_at_group(name, members)
        for pod in queued:
            if not pod["spec"].get("schedulingGates") and not is_bound(pod) and MANAGED in pod["metadata"]["labels"]:
                await self.bind(pod)

    async def evict(self, group: str, message: str) -> None:
        """Preempts an admitted group: says so of the Workload and of each pod, then deletes the pods."""
        await self._say(
            group,
            ("Evicted", "True", "Preempted", message),
            ("QuotaReserved", "False", "Pending", message),
            ("Admitted", "False", "NoReservation", message),
        )
        pods = (await self.client.request("GET", self.kubelets.pods_path))["items"]
        for pod in self.grouped(pods)[group]:
            path = f"{self.kubelets.pods_path}/{pod['metadata']['name']}"
            target = {"type": "TerminationTarget", "status": "True", "reason": "WorkloadEvicted", "message": message}
            status = {"status": {"conditions": [{**target, "lastTransitionTime": timestamp()}]}}
            with suppress(NotFound, Conflict):
                await self.client.request("PATCH", f"{path}/status", status, kind=STRATEGIC)
                await self.client.request("DELETE", path)

    async def workloads(self) -> dict[str, Object]:
        items = (await self.client.request("GET", self.workloads_path))["items"]
        return {each["metadata"]["name"]: each for each in items}

    @property
    def workloads_path(self) -> str:
        return f"/apis/{self.api}/namespaces/{self.namespace}/workloads"

    async def _manage(self, pod: Object) -> None:
        path = f"{self.kubelets.pods_path}/{pod['metadata']['name']}"
        patch = {"metadata": {"finalizers": [MANAGED], "labels": {MANAGED: "true"}}}
        with suppress(NotFound):
            await self.client.request("PATCH", path, patch, kind=MERGE)

    async def _look_at_group(self, name: str, members: list[Object]) -> None:
        """A group of which pods are gone without their finalizers having been removed can't be: it isn't retriable."""
        annotations = members[0]["metadata"]["annotations"]
        assert annotations["kueue.x-k8s.io/retriable-in-group"] == "false", "pods would hang on the finalizer for ever"
        workload = (await self.workloads()).get(name)
        held = workload is not None and not all(map(is_over, members))
        for pod in members:
            deleted_unbound = pod["metadata"].get("deletionTimestamp") and not is_bound(pod)
            goes = is_over(pod) or (deleted_unbound and not held)
            if goes and pod["metadata"].get("finalizers"):
                path = f"{self.kubelets.pods_path}/{pod['metadata']['name']}"
                with suppress(NotFound):
                    await self.client.request("PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
        if all(map(is_over, members)):
            await self._say(name, ("Finished", "True", "Succeeded", "Pods succeeded"))
        living = [pod for pod in members if not pod["metadata"].get("deletionTimestamp") and not is_over(pod)]
        if len(living) == int(annotations["kueue.x-k8s.io/pod-group-total-count"]):
            await self._queue(name, living)

    async def _queue(self, name: str, members: list[Object]) -> None:
        known = await self.workloads()
        first = members[0]["metadata"]
        if name not in known:
            await self._create(name, members)
            return
        queue, admitted = (
            first["labels"][QUEUE],
            {each for each, workload in known.items() if _is(workload, "Admitted") and not _is(workload, "Finished")},
        )
        if name in admitted:
            await self._ungate(members)
        elif queue not in self.queues:
            await self._say(name, ("QuotaReserved", "False", "Inadmissible", f"LocalQueue {queue} doesn't exist"))
        elif len(members) > self.places:
            words = (
                f"couldn't assign flavors to pod set main: request > maximum capacity ({len(members)} > {self.places})"
            )
            await self._say(name, ("QuotaReserved", "False", "ExceedsMaxQuota", words))
        elif sum(known[each]["spec"]["podSets"][0]["count"] for each in admitted) + len(members) <= self.places:
            await self._say(name, ("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue all"),
                            ("Admitted", "True", "Admitted", "The workload is admitted"),
                            ("Evicted", "False", "QuotaReserved", ""))  # fmt: skip
        else:
            words = "couldn't assign flavors to pod set main: insufficient unused quota for pods in flavor default"
            await self._say(name, ("QuotaReserved", "False", "WaitingForQuota", words))

    async def _create(self, name: str, members: list[Object]) -> None:
        owners = [
            {"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}
            for pod in members
        ]
        metadata = {
            "name": name,
            "ownerReferences": owners,
            "annotations": {"kueue.x-k8s.io/is-group-workload": "true"},
        }
        labels = members[0]["metadata"]["labels"]
        pod_set = {"name": "main", "count": len(members), "template": {"spec": {}}}
        spec = {"queueName": labels[QUEUE], "podSets": [pod_set]}
        self.priorities[name] = labels.get("kueue.x-k8s.io/priority-class", "")
        workload = {"apiVersion": self.api, "kind": "Workload", "metadata": metadata, "spec": spec}
        with suppress(AlreadyExists):
            await self.client.request("POST", self.workloads_path, workload)

    async def _ungate(self, members: list[Object]) -> None:
        for pod in members:
            gates = pod["spec"].get("schedulingGates") or []
            if any(gate["name"] == GATE for gate in gates):
                left = [gate for gate in gates if gate["name"] != GATE]
                patch = [{"op": "replace", "path": "/spec/schedulingGates", "value": left}]
                path = f"{self.kubelets.pods_path}/{pod['metadata']['name']}"
                with suppress(NotFound, Conflict):
                    await self.client.request("PATCH", path, patch, kind=JSON_PATCH)

    async def _say(self, name: str, *said: tuple[str, str, str, str]) -> None:
        workload = (await self.workloads()).get(name)
        if workload is None:
            return
        before = {each["type"]: each for each in (workload.get("status") or {}).get("conditions", ())}
        new = {
            type_: {"type": type_, "status": status, "reason": reason, "message": message}
            for type_, status, reason, message in said
        }
        if all({**before.get(type_, {}), **each} == before.get(type_) for type_, each in new.items()):
            return
        stamped = {type_: {**each, "lastTransitionTime": timestamp()} for type_, each in new.items()}
        status = {"conditions": [*(before | stamped).values()]}
        await self.client.request("PATCH", f"{self.workloads_path}/{name}/status", {"status": status}, kind=MERGE)


def _is(workload: Object, condition: str) -> bool:
    conditions = (workload.get("status") or {}).get("conditions", ())
    return any(each["type"] == condition and each["status"] == "True" for each in conditions)
