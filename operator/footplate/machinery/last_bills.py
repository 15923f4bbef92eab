"""What a job has held since its status last told it is counted when the job is deleted: its status tells nothing more,
and who deletes jobs after nine minutes, again and again, would pay for none.

A job that waits for its dependents, or for somebody's finalizer, is deleted when that begins. A leader counts what it
sees being deleted itself: nothing counts twice, whoever leads next. Nor does a job whose end one write was answered by,
and which a watch that lags behind shows once more before it tells the same.
"""

import structlog

from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.job_metrics import JobMetrics
from footplate.machinery.poller import Poller
from footplate.machinery.run_configs import RunConfigs
from footplate.objects import Object, key_of, uid_of
from footplate.policy.ownership import owner_of
from footplate.policy.plan import Observed
from footplate.policy.reconcile import measure_deleted

log = structlog.get_logger(__name__)

_REMEMBERED = 4096
"""Jobs that were counted last."""


class LastBills:
    """Told of each job's end by the cluster, at once: its pods are still there."""

    def __init__(
        self,
        cluster: Cluster,
        run_configs: RunConfigs,
        poller: Poller,
        *,
        own: str,
        clock: Clock,
        metrics: JobMetrics,
    ) -> None:
        self._cluster = cluster
        self._run_configs = run_configs
        self._poller = poller
        self._own = own
        self._clock = clock
        self._metrics = metrics
        self._entered: dict[str, None] = {}

    def enter(self, job: Object) -> None:
        """The job, as it was last before it was deleted. Another operator's is that one's to count."""
        if owner_of(job) != self._own or uid_of(job) in self._entered:
            return
        self._entered[uid_of(job)] = None
        if len(self._entered) > _REMEMBERED:
            del self._entered[next(iter(self._entered))]
        key = key_of(job)
        observed = Observed(
            job=job,
            run_config=self._run_configs.known(key),
            pods=[*self._cluster.departed.of(key), *self._cluster.pods_of(job)],
            nodes=self._cluster.nodes_by_name,
            progress=self._poller.latest(uid_of(job)),
        )
        try:
            self._metrics.count(job, measure_deleted(observed, now=self._clock.now()))
        except Exception:
            log.exception("last_bill_failed", job="/".join(key))
