"""Data before accelerators: a run whose job has `data`, and storage to keep the outcome in, begins with attempts of one
pod without accelerators, which prepares them. All that is said of attempts holds for these: they are counted, charged,
stopped and tried again alike. The gang follows once one has succeeded.
"""

from dataclasses import replace
from decimal import Decimal

from footplate.api.quantities import amount
from footplate.api.resources import Resources
from footplate.api.status import Attempt, TrainingJobStatus
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import JobConfig, data_channels
from footplate.policy.failure import Failure
from footplate.policy.reasons import Reason
from footplate.records import base_uri

DATA = "data"
RESOURCES = Resources(requests={"cpu": "1", "memory": "2Gi"})


def is_due(spec: TrainingJobSpec, status: TrainingJobStatus) -> bool:
    """True until the data of a run are prepared that are to be. One that has no storage has nowhere to keep them: each
    node of its gang prepares its own. Nor are they where node 0 of the gang does it.
    """
    in_gang = status.resolved is not None and status.resolved.data_in_gang
    return spec.data is not None and base_uri(spec) is not None and status.data_time is None and not in_gang


def fits_in_gang(spec: TrainingJobSpec, above: Decimal | None) -> bool:
    """Whether node 0 of the gang is to prepare the data, as their inputs hold no more than a policy names. How much
    lies in storage only a pod finds out, so an input counts by what it may hold.
    """
    if spec.data is None or above is None:
        return False
    channels = data_channels(spec)
    sizes = [amount(channel.max_size) for channel in channels if channel.max_size is not None]
    return len(sizes) == len(channels) and sum(sizes) <= above


def is_preparing(attempt: Attempt | None) -> bool:
    """True for an attempt that prepares the data, or did."""
    return attempt is not None and attempt.stage == DATA


def in_its_words(cause: Failure) -> Failure:
    """Why an attempt that prepares the data has failed, with the fields that its pod goes by."""
    if cause.reason is Reason.OUT_OF_MEMORY and cause.pod is not None:
        message = (
            f"pod {cause.pod.name}, which prepares the data, was killed because it used more memory than its limit; "
            "raise data.resources.limits.memory"
        )
    else:
        message = cause.message.replace("raise it in resources.limits", "raise it in data.resources.limits")
    return replace(cause, message=message)


def of_stage(spec: TrainingJobSpec, status: TrainingJobStatus) -> TrainingJobSpec:
    """The spec of the attempts that are due now: what prepares data is one pod, without what only training needs."""
    if not is_due(spec, status) or spec.data is None:
        return spec
    pods = spec.pod_template.model_copy(update={"resource_claims": None})
    return spec.model_copy(
        update={
            "nodes": 1,
            "processes_per_node": 1,
            "elastic": None,
            "resources": spec.data.resources or RESOURCES,
            "pod_template": pods,
        }
    )


def config_of_stage(config: JobConfig, status: TrainingJobStatus) -> JobConfig:
    """The run's config with that spec: what an attempt without accelerators holds of them is nothing."""
    if not is_due(config.spec, status):
        return config
    return config.model_copy(update={"spec": of_stage(config.spec, status), "accelerators": None})
