"""The reconcile loop: take a key, look, plan, apply; then what the result says. Where the plan rests on what the view
doesn't prove, the API server is asked and the job looked at again, before anything is done.

A fence surrounds every key: whatever goes wrong with one job is logged, counted and tried again with backoff, and stops
no other.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from structlog.contextvars import bound_contextvars

from footplate.errors import Conflict, LeaseLost, NotFound, Retryable
from footplate.machinery.answers import Answers
from footplate.machinery.applier import Applier
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.metrics import Metrics
from footplate.machinery.poller import Poller
from footplate.machinery.run_configs import RunConfigs
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import Key, Object, uid_of
from footplate.policy.plan import RETRY_REFUSED_SECONDS, Observed, Plan, Refusal
from footplate.policy.reconcile import reconcile

log = structlog.get_logger(__name__)

_ROUNDS = 30
"""Changes in a row after which a job that never settles has to wait between two of them."""

_QUESTIONS = 20
"""Times that one look may ask the API server what is so, before others get their turn."""


@dataclass(frozen=True, slots=True)
class _Refused:
    """Creates that were refused for one version of a job's spec, and when by the monotonic clock."""

    refusals: Sequence[Refusal]
    generation: object
    at: float


class Worker:
    """Reconciles keys from the queue. Several tasks may `run` one worker: the queue gives each key to one at a time."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        client: KubeClient,
        cluster: Cluster,
        run_configs: RunConfigs,
        applier: Applier,
        poller: Poller,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._client = client
        self._cluster = cluster
        self._run_configs = run_configs
        self._applier = applier
        self._poller = poller
        self._clock = clock
        self._metrics = metrics
        self._refused: dict[Key, _Refused] = {}
        self._rounds: dict[Key, int] = {}
        self._written: dict[Key, tuple[str, datetime]] = {}

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            key = await self._queue.get()
            started = self._clock.monotonic()
            try:
                with bound_contextvars(job="/".join(key), reconcile=uuid.uuid4().hex[:8]):
                    result = await self._fenced(key)
                self._metrics.reconciliations.labels(result).inc()
                self._metrics.reconcile_seconds.observe(self._clock.monotonic() - started)
            finally:
                self._queue.done(key)

    async def _fenced(self, key: Key) -> str:
        try:
            return await self._reconcile(key)
        except (Conflict, NotFound):
            self._queue.add_rate_limited(key)
            return "conflict"
        except (Retryable, LeaseLost) as error:
            log.warning("reconcile_retries", error=str(error))
            self._queue.add_rate_limited(key, at_least=getattr(error, "retry_after", None) or 0.0)
            return "retry"
        except Exception:
            log.exception("reconcile_failed")
            self._queue.add_rate_limited(key)
            return "error"

    async def _reconcile(self, key: Key) -> str:
        answers = Answers(self._client, self._cluster, namespace=key[0])
        for _ in range(_QUESTIONS):
            job = self._cluster.jobs.get(key)
            if job is None:
                self._forget(key)
                return "gone"
            status = job.get("status") or {}
            with bound_contextvars(run=status.get("run"), attempt=status.get("attempt")):
                observed = await self._observe(key, job, answers)
                with self._metrics.plan_seconds.time():
                    plan = reconcile(observed, now=self._clock.now())
                if not plan.confirm:
                    return await self._carry_out(key, job, answers.watched(plan))
                await answers.ask(plan.confirm)
        self._look_again(key)
        return "changed"

    async def _observe(self, key: Key, job: Object, answers: Answers) -> Observed:
        uid, written = self._written.get(key, ("", None))
        return Observed(
            job=job,
            run_config=await self._run_configs.get(job),
            pods=answers.correct_pods(self._cluster.pods_of(job)),
            nodes=answers.correct_nodes(self._cluster.nodes_by_name),
            confirmed=answers.confirmed,
            runtime=self._cluster.runtime_of(job),
            progress=self._poller.latest(uid_of(job)),
            refusals=self._fresh_refusals(key, job),
            status_written=written if uid == uid_of(job) else None,
        )

    async def _carry_out(self, key: Key, job: Object, plan: Plan) -> str:
        if not (plan.create or plan.delete or plan.events or plan.status is not None):
            self._settle(key, plan)
            return "settled"
        refusals = await self._applier.apply(job, plan)
        log.info(
            "reconciled",
            created=len(plan.create),
            deleted=len(plan.delete),
            phase=None if plan.status is None else plan.status.get("phase"),
            refused=refusals[0].message if refusals else None,
        )
        if plan.status is not None:
            self._written[key] = uid_of(job), self._clock.now()
        if plan.create:
            self._refused[key] = _Refused(refusals, job["metadata"].get("generation"), self._clock.monotonic())
        self._look_again(key)
        return "refused" if refusals else "changed"

    def _fresh_refusals(self, key: Key, job: Object) -> Sequence[Refusal]:
        """What was refused a moment ago, so that it isn't tried again at every event; a new spec may fare better."""
        held = self._refused.get(key)
        if held is None:
            return ()
        young = self._clock.monotonic() - held.at < RETRY_REFUSED_SECONDS
        if young and held.generation == job["metadata"].get("generation"):
            return held.refusals
        del self._refused[key]
        return ()

    def _settle(self, key: Key, plan: Plan) -> None:
        self._rounds.pop(key, None)
        self._queue.forget(key)
        if plan.requeue_after is not None:
            self._queue.add_after(key, plan.requeue_after)

    def _look_again(self, key: Key) -> None:
        """At once: a plan is one step, and the next may be due."""
        rounds = self._rounds[key] = self._rounds.get(key, 0) + 1
        if rounds <= _ROUNDS:
            self._queue.add(key)
            return
        log.warning("job_does_not_settle", rounds=rounds)
        self._queue.add_rate_limited(key)

    def _forget(self, key: Key) -> None:
        self._queue.forget(key)
        self._run_configs.discard(key)
        self._refused.pop(key, None)
        self._rounds.pop(key, None)
        self._written.pop(key, None)
