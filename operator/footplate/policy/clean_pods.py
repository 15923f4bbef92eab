"""What is deleted, and when: pods of older attempts at once, a finished run's pods as the user wishes, and the rest
when its time to live is over: the TrainingJob itself, as a Job, and with it all that it owns; or, where
`ttlKeepsJob` says that it stays as the record, what it owns alone.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta

from footplate.api.status import Phase, TrainingJobStatus
from footplate.objects import Object, block, text, uid_of, version_of
from footplate.policy import elastic
from footplate.policy.gang_scheduling import outdated_groups
from footplate.policy.job import Job, is_finished
from footplate.policy.plan import Target
from footplate.policy.pod import Pod


def outdated(job: Job) -> tuple[Target, ...]:
    """Pods of older attempts, and of the current one where it has ended, and scouts that nobody needs any more.
    Terminating ones are left to their grace. PodGroups go with their attempts.
    """
    gang, useful = job.gang, elastic.useful_scouts(job)
    over = gang.everyone if job.between_attempts else [*gang.older, *gang.scouts.values()]
    return (*_deletable(pod for pod in over if pod not in useful), *outdated_groups(job))


def finished(job: Job) -> tuple[Target, ...]:
    """Pods that a finished run gives up now."""
    gang, keep = job.gang, job.spec.run_policy.clean_pods
    everything = keep == "always" or (keep == "onSuccess" and job.status.phase is Phase.SUCCEEDED)
    if everything or expired(job.status, job.spec.run_policy.ttl_seconds_after_finished, now=job.now):
        return (*_deletable(gang.everyone), *outdated_groups(job))
    living = (pod for pod in gang.pods if not pod.ended)
    return (*_deletable([*gang.older, *gang.scouts.values(), *living, *overdue(job)]), *outdated_groups(job))


def overdue(job: Job) -> list[Pod]:
    """Pods whose trainer has ended while other containers run on: they hold their nodes' devices for nothing, and go as
    soon as the API server has what is to be kept of them.
    """
    known = job.gang.current.keys() if is_finished(job.status) else job.recorded
    return [
        pod for pod in job.gang.ended if pod.rank in known and pod.outlives_trainer(job.now) and not pod.terminating
    ]


def asked_for(job: Job) -> tuple[Target, ...]:
    """Living pods that the API server was asked for: they go now, as no later view need show them."""
    gang, asked = job.gang, job.observed.confirmed
    return _deletable(pod for rank, pod in gang.current.items() if gang.doubt(rank) in asked and not pod.ended)


def leftovers(job: Job) -> tuple[Target, ...]:
    """What else goes with an expired run's pods."""
    if job.status.resolved is None:
        return ()
    name, namespace = job.status.resolved.config_map, job.config.metadata.namespace
    return tuple(Target(kind, namespace, name) for kind in ("Service", "ConfigMap"))


def whole_job(job: Object) -> Target:
    """The TrainingJob itself. Its version must still be this one: an edit in the last moment, such as another
    `restartNonce`, saves it.
    """
    metadata = block(job, "metadata")
    return Target("TrainingJob", text(metadata, "namespace"), text(metadata, "name"), uid_of(job), version_of(job))


def seconds_to_live(status: TrainingJobStatus, ttl: int | None, *, now: datetime) -> float | None:
    """Seconds until a finished run's objects are deleted, None where they stay. The clock is the API server's, made
    steady (`machinery.clock`): one that jumps brings no job's end nearer.
    """
    done = status.completion_time
    if ttl is None or done is None:
        return None
    return (done + timedelta(seconds=ttl) - now).total_seconds()


def expired(status: TrainingJobStatus, ttl: int | None, *, now: datetime) -> bool:
    """True once a finished run's time to live is over."""
    left = seconds_to_live(status, ttl, now=now)
    return left is not None and left <= 0


def _deletable(pods: Iterable[Pod]) -> tuple[Target, ...]:
    return tuple(pod.target for pod in pods if not pod.terminating)
