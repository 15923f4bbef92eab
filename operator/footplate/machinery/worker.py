"""The reconcile loop: take a key, look, plan, apply; then what the result says. Where the plan rests on what the view
doesn't prove, the API server is asked and the job looked at again, before anything is done.

A fence surrounds every key: whatever goes wrong with one job is logged, counted and tried again with backoff, and stops
no other. Nothing is waited for here but the plan's own requests, each once: what failed comes again as another look.
"""

import uuid
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from footplate.errors import Conflict, LeaseLost, NotFound, Retryable
from footplate.machinery.answers import Answers
from footplate.machinery.applier import Applier
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.cluster import Cluster
from footplate.machinery.controllers import Controller
from footplate.machinery.memory import Memory
from footplate.machinery.metrics import Metrics
from footplate.machinery.others import LOOK_AGAIN_SECONDS, Others
from footplate.objects import Key, Object, uid_of
from footplate.policy.ownership import claim, owner_of
from footplate.policy.plan import Plan

log = structlog.get_logger(__name__)

_ROUNDS = 30
"""Changes in a row after which a job that never settles has to wait between two of them."""

_QUESTIONS = 20
"""Times that one look may ask the API server what is so, before others get their turn."""

_HOT_SECONDS = 1.0
"""A change that took longer is no part of a loop that has to be slowed down."""


class Worker:
    """Reconciles keys from its controller's queue. Several tasks may `run` one worker: the queue gives each key to one
    at a time.
    """

    def __init__(
        self,
        controller: Controller,
        client: KubeClient,
        cluster: Cluster,
        applier: Applier,
        others: Others,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._others = others
        self._controller = controller
        self._queue = controller.queue
        self._client = client
        self._cluster = cluster
        self._applier = applier
        self._clock = clock
        self._metrics = metrics
        self._memories: dict[Key, Memory] = {}

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
            job = self._controller.store.get(key)
            if job is None:
                self._forget(key)
                return "gone"
            if await self._others.has(key, owner_of(job)):
                self._queue.forget(key)
                self._queue.add_after(key, LOOK_AGAIN_SECONDS)
                return "left_alone"
            status = job.get("status") or {}
            with bound_contextvars(run=status.get("run"), attempt=status.get("attempt")):
                memory = self._remember(key, job)
                observed = await self._controller.observe(job, memory, answers)
                with self._metrics.plan_seconds.time():
                    plan = self._controller.reconcile(observed, now=self._clock.now())
                if not plan.confirm:
                    result = await self._carry_out(key, job, answers.watched(plan), memory)
                    self._controller.note_look(key, observed)
                    return result
                await answers.ask(plan.confirm)
        self._look_again(key, memory, hot=True)
        return "changed"

    def _remember(self, key: Key, job: Object) -> Memory:
        memory = self._memories.get(key)
        if memory is None or memory.uid != uid_of(job):
            self._queue.forget(key)
            memory = self._memories[key] = Memory.of(job)
        return memory

    async def _carry_out(self, key: Key, job: Object, wanted: Plan, memory: Memory) -> str:
        plan = claim(memory.hold_back(wanted, clock=self._clock), job, operator=self._others.own)
        needless = memory.forgive(wanted, clock=self._clock)
        if not (plan.create or plan.delete or plan.events or plan.status is not None):
            self._settle(key, plan, memory)
            if needless:
                self._queue.add(key)
            return "settled"
        started = self._clock.monotonic()
        outcome = await self._applier.apply(job, plan)
        memory.note(plan, outcome.failed, living=partial(self._cluster.living_pods_of, job), clock=self._clock)
        if plan.left_alone:
            log.error("status_not_understood", why=plan.events[0].message)
            self._settle(key, plan, memory)
            return "left_alone"
        log.info(
            "reconciled",
            created=len(plan.create),
            deleted=len(plan.delete),
            phase=None if plan.status is None else plan.status.get("phase"),
            refused=outcome.failed[0].message if outcome.failed else None,
        )
        if outcome.error is not None:
            raise outcome.error
        if plan.status is not None:
            memory.written = self._clock.now()
        self._look_again(key, memory, hot=self._clock.monotonic() - started < _HOT_SECONDS)
        if not outcome.failed:
            return "changed"
        return "retry" if all(refusal.transient for refusal in outcome.failed) else "refused"

    def _settle(self, key: Key, plan: Plan, memory: Memory) -> None:
        memory.rounds = 0
        self._queue.forget(key)
        if plan.requeue_after is not None:
            self._queue.add_after(key, plan.requeue_after)

    def _look_again(self, key: Key, memory: Memory, *, hot: bool) -> None:
        """At once: a plan is one step, and the next may be due."""
        memory.rounds = memory.rounds + 1 if hot else 0
        if memory.rounds <= _ROUNDS:
            self._queue.add(key)
            return
        log.warning("job_does_not_settle", rounds=memory.rounds)
        self._queue.add_rate_limited(key)

    def _forget(self, key: Key) -> None:
        self._queue.forget(key)
        self._others.forget(key)
        self._controller.forget(key)
        self._memories.pop(key, None)
