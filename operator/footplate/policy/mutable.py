"""The fields that a user may change on a living job: they are read from the job at every look, never from job.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import Object, block
from footplate.policy.rules import Path, leaves, may_set

LIVE_FIELDS: Sequence[Path] = (
    ("runPolicy", "suspend"),
    ("runPolicy", "restartNonce"),
    ("runPolicy", "ttlSecondsAfterFinished"),
    ("runPolicy", "ttlKeepsJob"),
    ("runPolicy", "maxRestarts"),
    ("runPolicy", "maxDisruptions"),
    ("runPolicy", "activeDeadlineSeconds"),
    ("scheduling", "priorityClassName"),
)
"""What any job may change; an elastic one its `nodes` too, which a job.json can't do without."""


def without_live_fields(spec: Object) -> Object:
    """A job's own spec without them."""
    kept = {**spec}
    for name, field in LIVE_FIELDS:
        if isinstance(kept.get(name), Mapping):
            kept[name] = {key: value for key, value in kept[name].items() if key != field}
    return kept


def with_live_fields(spec: TrainingJobSpec, job: Object, runtime: Object | None) -> TrainingJobSpec:
    """The resolved spec with what the job says now, as far as it is valid and the runtime, which is asked again, lets
    jobs say so.
    """
    fields = LIVE_FIELDS if spec.elastic is None else (*LIVE_FIELDS, ("nodes",))
    said = {path: value for path in fields if (value := _value(job, path)) is not None}
    policy, defaults = block(runtime, "spec", "policy"), dict(leaves(block(runtime, "spec")))
    for path, value in said.items():
        if may_set(path, value, theirs=defaults, allowed=policy.get("allowed")):
            spec = _with_value(spec, path, value)
    return spec


def _value(job: Object, path: Path) -> Any:
    return block(job, "spec", *path[:-1]).get(path[-1])


def _with_value(spec: TrainingJobSpec, path: Path, value: Any) -> TrainingJobSpec:
    raw = spec.to_json()
    target = raw
    for parent in path[:-1]:
        target = target.setdefault(parent, {})
    if target.get(path[-1]) == value:
        return spec
    target[path[-1]] = value
    try:
        return TrainingJobSpec.model_validate(raw)
    except ValidationError:
        return spec
