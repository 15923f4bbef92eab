"""The kinds that the operator looks after. Each is a controller: where its objects are kept, the queue of those that
must be looked at, what is observed of one, and a pure decision. Another kind is another entry of the table, with a
policy and a queue of its own: a key doesn't say of which kind it is.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Protocol

from footplate.machinery.answers import Answers
from footplate.machinery.cluster import Cluster
from footplate.machinery.memory import Memory
from footplate.machinery.poller import Poller
from footplate.machinery.resources import TRAINING_JOBS, Resource
from footplate.machinery.run_configs import RunConfigs
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.store import Store
from footplate.machinery.workqueue import WorkQueue
from footplate.objects import Key, Object, block, key_of, uid_of
from footplate.policy import history
from footplate.policy.labels import propagated
from footplate.policy.plan import Observed, Plan
from footplate.policy.reconcile import reconcile
from footplate.tokens import PodTokens

Observe = Callable[[Object, Memory, Answers], Awaitable[Observed]]


class Reconcile(Protocol):
    """A pure decision: `footplate.policy.reconcile` has the contract."""

    def __call__(self, observed: Observed, *, now: datetime) -> Plan:
        """What is to be done."""


@dataclass(frozen=True, slots=True)
class Controller:
    """One kind."""

    resource: Resource
    store: Store
    queue: WorkQueue
    observe: Observe
    reconcile: Reconcile
    note_look: Callable[[Key, Observed], None]
    """Called with what was observed once a look's plan is carried out."""
    forget: Callable[[Key], None]
    """Called with the key of an object that is gone."""


def controllers(
    cluster: Cluster,
    jobs: WorkQueue,
    run_configs: RunConfigs,
    poller: Poller,
    *,
    settings: OperatorSettings,
    tokens: PodTokens,
    suspects: Callable[[], Mapping[str, str]] = dict,
) -> tuple[Controller, ...]:
    """The table; `jobs` is the queue of TrainingJobs, which the stores and the poller fill.

    `suspects` tells which nodes new attempts keep away from, and why.
    """

    async def observe_job(job: Object, memory: Memory, answers: Answers) -> Observed:
        observed = await _observe_job(cluster, run_configs, poller, job, memory, answers)
        return replace(
            observed,
            labels=propagated(block(job, "metadata", "labels"), settings.propagate_labels),
            accelerators=settings.accelerators,
            tokens=tokens,
            suspects=suspects(),
        )

    def note_look(key: Key, observed: Observed) -> None:
        cluster.departed.note_look(key, observed.pods)

    def forget(key: Key) -> None:
        cluster.departed.forget(key)
        run_configs.discard(key)

    return (Controller(TRAINING_JOBS, cluster.jobs, jobs, observe_job, reconcile, note_look, forget),)


async def _observe_job(
    cluster: Cluster,
    run_configs: RunConfigs,
    poller: Poller,
    job: Object,
    memory: Memory,
    answers: Answers,
) -> Observed:
    runtime, policies = cluster.runtime_of(job), cluster.policies_of(key_of(job)[0])
    return Observed(
        job=job,
        run_config=await run_configs.get(job, runtime=runtime),
        pods=[*cluster.departed.of(key_of(job)), *answers.correct_pods(cluster.pods_of(job))],
        nodes=answers.correct_nodes(cluster.nodes_by_name),
        confirmed=answers.confirmed,
        runtime=runtime,
        policies=policies or (),
        policies_known=policies is not None,
        gang_state=cluster.gangs.state_of(job),
        finished_since=cluster.finished_since(job) if history.limit(policies or ()) is not None else 0,
        admission=cluster.line.admission_of(job),
        progress=poller.latest(uid_of(job)),
        refusals=memory.failures(job, living=partial(cluster.living_pods_of, job)),
        status_written=memory.written,
    )
