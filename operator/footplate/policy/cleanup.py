"""What is deleted, and when: pods of older attempts at once, a finished run's pods as the user wishes, and the rest
when its time to live is over. The TrainingJob itself stays as the record.
"""

from datetime import timedelta

from footplate.api.status import Phase
from footplate.policy.plan import Target
from footplate.policy.pods import Pod
from footplate.policy.situation import Situation, run_name


def outdated(situation: Situation) -> tuple[Target, ...]:
    """Pods of older attempts, and of the current one where it has ended. Terminating ones are left to their grace."""
    pods = [*situation.gang.older, *(situation.gang.pods if situation.between_attempts else ())]
    return _deletable(pods)


def finished(situation: Situation) -> tuple[Target, ...]:
    """What a finished run gives up now."""
    gang = situation.gang
    if expired(situation):
        return _deletable([*gang.older, *gang.pods]) + _of_run(situation)
    keep = situation.spec.run_policy.clean_pods
    delete_ended = keep == "always" or (keep == "onSuccess" and situation.status.phase is Phase.SUCCEEDED)
    return _deletable([*gang.older, *(pod for pod in gang.pods if delete_ended or not pod.terminal)])


def seconds_to_live(situation: Situation) -> float | None:
    """Seconds until a finished run's objects are deleted, None where they stay or are gone."""
    ttl, done = situation.spec.run_policy.ttl_seconds_after_finished, situation.status.completion_time
    if ttl is None or done is None or situation.status.resolved is None:
        return None
    return (done + timedelta(seconds=ttl) - situation.now).total_seconds()


def expired(situation: Situation) -> bool:
    """True once a finished run's time to live is over and its objects haven't been deleted."""
    left = seconds_to_live(situation)
    return left is not None and left <= 0


def _of_run(situation: Situation) -> tuple[Target, ...]:
    job = situation.config.metadata
    name = run_name(job.name, situation.config.run)
    return tuple(Target(kind, job.namespace, name) for kind in ("Service", "ConfigMap"))


def _deletable(pods: list[Pod]) -> tuple[Target, ...]:
    return tuple(pod.target for pod in pods if not pod.terminating)
