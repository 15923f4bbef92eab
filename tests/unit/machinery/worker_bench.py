"""A worker whose plans and applications tests decide."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from footplate.errors import NotFound
from footplate.machinery.applier import Outcome
from footplate.machinery.cluster import Cluster
from footplate.machinery.controllers import controllers
from footplate.machinery.metrics import Metrics
from footplate.machinery.others import Others
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.worker import Worker
from footplate.machinery.workqueue import WorkQueue
from footplate.policy.plan import Observed, Plan, Refusal
from footplate.tokens import NO_TOKENS
from unit.machinery.support import FakeClock, settle

CHANGE = Plan(status={"phase": "Running"})


class Api:
    """What the API server has, whatever the view shows."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.asked: list[str] = []
        self.error: Exception | None = None

    async def get(self, _: Any, namespace: str, name: str) -> Any:
        self.asked.append(name)
        if self.error is not None:
            raise self.error
        if name not in self.objects:
            raise NotFound(404, "NotFound", name)
        return self.objects[name]


class Bench:
    """A worker whose plans and applications tests decide."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.metrics = Metrics()
        self.queue = WorkQueue(workers=24, clock=self.clock, metrics=self.metrics)
        self.cluster = Cluster(self.queue.add)
        self.api = Api()
        self.observed: list[Observed] = []
        self.decide: Callable[[Observed], Plan] = lambda _: Plan()
        self.outcome: Callable[[Plan], list[Refusal]] = lambda _: []
        self.applied: list[Plan] = []
        [controller] = controllers(
            self.cluster,
            self.queue,
            cast(Any, self),
            cast(Any, self),
            settings=OperatorSettings(),
            tokens=NO_TOKENS,
        )
        self.worker = Worker(
            replace(controller, reconcile=self.reconcile),
            cast(Any, self.api),
            self.cluster,
            cast(Any, self),
            Others(cast(Any, self.api), own="", clock=self.clock),
            clock=self.clock,
            metrics=self.metrics,
        )

    def reconcile(self, observed: Observed, *, now: datetime) -> Plan:
        self.observed.append(observed)
        return self.decide(observed)

    async def get(self, _: Any, *, runtime: Any) -> None:
        """No run has a ConfigMap."""

    def discard(self, _: Any) -> None:
        """So there is none to forget."""

    async def apply(self, _: Any, plan: Plan) -> Outcome:
        self.applied.append(plan)
        return Outcome(self.outcome(plan))

    def latest(self, _: str) -> None:
        """No job has progress."""

    def results(self) -> dict[str, float]:
        [family] = self.metrics.reconciliations.collect()
        return {s.labels["result"]: s.value for s in family.samples if s.name.endswith("_total") and s.value}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.worker.run())
        await settle()
        try:
            yield
        finally:
            assert not task.done(), "nothing but cancellation ends a worker"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def plans(*answers: Plan) -> Callable[[Observed], Plan]:
    """One after the other, then nothing to do."""
    rest = list(answers)
    return lambda _: rest.pop(0) if rest else Plan()
