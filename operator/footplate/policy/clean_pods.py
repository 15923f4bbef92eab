"""What is deleted, and when: pods of older attempts at once, a finished run's pods as the user wishes, and the rest
when its time to live is over. The TrainingJob itself stays as the record.
"""

from collections.abc import Iterable
from datetime import timedelta

from footplate.api.status import Phase
from footplate.podspec import run_name
from footplate.policy import elastic
from footplate.policy.job import Job, is_finished
from footplate.policy.plan import Target
from footplate.policy.pod import Pod


def outdated(job: Job) -> tuple[Target, ...]:
    """Pods of older attempts, and of the current one where it has ended, and scouts that nobody needs any more.
    Terminating ones are left to their grace.
    """
    gang, useful = job.gang, elastic.useful_scouts(job)
    over = gang.everyone if job.between_attempts else [*gang.older, *gang.scouts.values()]
    return _deletable(pod for pod in over if pod not in useful)


def finished(job: Job) -> tuple[Target, ...]:
    """Pods that a finished run gives up now."""
    gang, keep = job.gang, job.spec.run_policy.clean_pods
    everything = keep == "always" or (keep == "onSuccess" and job.status.phase is Phase.SUCCEEDED)
    if everything or expired(job):
        return _deletable(gang.everyone)
    living = (pod for pod in gang.pods if not pod.ended)
    return _deletable([*gang.older, *gang.scouts.values(), *living, *overdue(job)])


def overdue(job: Job) -> list[Pod]:
    """Pods whose trainer has ended while other containers run on: they hold their nodes' devices for nothing, and go as
    soon as the API server has what is to be kept of them.
    """
    known = job.gang.current.keys() if is_finished(job.status) else job.recorded
    return [
        pod for pod in job.gang.ended if pod.rank in known and pod.outlives_trainer(job.now) and not pod.terminating
    ]


def leftovers(job: Job) -> tuple[Target, ...]:
    """What else goes with an expired run's pods."""
    metadata = job.config.metadata
    name = run_name(metadata.name, job.config.run, uid=metadata.uid)
    return tuple(Target(kind, metadata.namespace, name) for kind in ("Service", "ConfigMap"))


def seconds_to_live(job: Job) -> float | None:
    """Seconds until a finished run's objects are deleted, None where they stay."""
    ttl, done = job.spec.run_policy.ttl_seconds_after_finished, job.status.completion_time
    if ttl is None or done is None:
        return None
    return (done + timedelta(seconds=ttl) - job.now).total_seconds()


def expired(job: Job) -> bool:
    """True once a finished run's time to live is over."""
    left = seconds_to_live(job)
    return left is not None and left <= 0


def _deletable(pods: Iterable[Pod]) -> tuple[Target, ...]:
    return tuple(pod.target for pod in pods if not pod.terminating)
