"""Frees deleted pods that Kueue's finalizer holds for ever: those of a group that was queued when all of it went.

Kueue waits for such a group to be made whole again, retriable or not (seen with Kueue 0.13.1 on Kubernetes 1.36), and
lets the pods go when their Workload is deleted. That is done here, whatever became of the job; the finalizers stay
Kueue's own. A group that holds any node, or of which any pod lives, is left alone: its end is Kueue's.
"""

import structlog

from footplate.errors import FootplateError, NotFound
from footplate.gangs.kinds import GangKind
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.resources import Resource
from footplate.objects import Object, block, key_of, time, uid_of

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 5.0
_PATIENCE_SECONDS = 5.0
"""Kueue is given so long to let pods go by itself."""


class KueueCleaner:
    """Looks at Kueue's Workloads now and then; for the leader alone."""

    def __init__(self, client: KubeClient, cluster: Cluster, *, clock: Clock) -> None:
        self._client = client
        self._cluster = cluster
        self._clock = clock

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._clock.sleep(_EVERY_SECONDS)
            for workload in [*self._cluster.gangs.stores[GangKind.KUEUE].objects().values()]:
                if self._holds_deleted_pods(workload):
                    await self._delete(workload)

    def _holds_deleted_pods(self, workload: Object) -> bool:
        pods = self._cluster.pods.indexed("group", key_of(workload))
        return bool(pods) and all(map(self._hangs, pods))

    def _hangs(self, pod: Object) -> bool:
        deleted = time(block(pod, "metadata"), "deletionTimestamp")
        if deleted is None or block(pod, "spec").get("nodeName"):
            return False
        return (self._clock.now() - deleted).total_seconds() >= _PATIENCE_SECONDS

    async def _delete(self, workload: Object) -> None:
        resource, (namespace, name) = Resource(workload["apiVersion"], "workloads"), key_of(workload)
        try:
            await self._client.delete(resource, namespace, name, uid=uid_of(workload))
        except NotFound:
            pass
        except FootplateError as error:
            log.warning("workload_stays", workload=name, namespace=namespace, error=str(error))
            return
        log.info("workload_deleted", workload=name, namespace=namespace)
        self._cluster.gangs.stores[GangKind.KUEUE].discard(key_of(workload), uid=uid_of(workload))
