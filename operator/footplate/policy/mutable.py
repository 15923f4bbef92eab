"""The fields that a user may change on a living job: they are read from the job at every look, never from job.json.

What the runtime's policy keeps a job from setting it can't set later either: job.json remembers which fields these are,
so that a runtime that was deleted or edited meanwhile allows nothing more. One that is stricter by now counts too. An
edit that doesn't count is told. `suspend: true` always counts: it gives the nodes back, and no policy gains by holding
a gang that its owner wants to stop.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from footplate.api.errors import Problem, explain
from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import JobConfig
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

_NODES: Path = ("nodes",)
_SUSPEND: Path = ("runPolicy", "suspend")
_JUDGED = (_NODES, ("scheduling", "priorityClassName"))
"""Of which TrainingPolicies say something."""
RESTART_NONCE: Path = ("runPolicy", "restartNonce")


@dataclass(frozen=True, slots=True)
class Edited:
    """The resolved spec with what counts of the user's edits, and what doesn't."""

    spec: TrainingJobSpec
    refused: Sequence[Problem] = ()


def without_live_fields(spec: Object) -> Object:
    """A job's own spec without them."""
    kept = {**spec}
    for name, field in LIVE_FIELDS:
        if isinstance(kept.get(name), Mapping):
            kept[name] = {key: value for key, value in kept[name].items() if key != field}
    return kept


def locked_fields(runtime: Object | None) -> list[str]:
    """The live fields that the runtime's policy keeps as they are in the runtime."""
    return [".".join(path) for path in (*LIVE_FIELDS, _NODES) if not may_change(path, object(), runtime)]


Judge = Callable[[TrainingJobSpec], Sequence[Problem]]
"""What TrainingPolicies refuse of a job."""


def with_live_fields(
    config: JobConfig,
    job: Object,
    runtime: Object | None,
    *,
    judge: Judge = lambda spec: (),
    living: int | None = None,
) -> Edited:
    """The resolved spec with what the job says now.

    Args:
        config: what the run was started with.
        job: the raw job.
        runtime: its runtime as it is now, None where it has none or it is gone.
        judge: what the policies say of a spec.
        living: nodes of the gang that runs, None where none does: an edit to as many that was allowed once, and isn't
            any more, counts until it ends.
    """
    said = [*_said(config, job)]
    spec, refused, as_begun = config.spec, list[Problem](), config.spec.to_json() if said else {}
    for path, value in said:
        settled = _value(as_begun, path)
        if value == settled:
            continue
        locked = ".".join(path) in (config.locked or ()) or not may_change(path, value, runtime)
        if locked and (path, value) != (_SUSPEND, True):
            refused.append(_locked(path, value, settled))
            continue
        try:
            edited = _with_value(spec, path, value)
        except ValidationError as error:
            refused += explain(error, "spec", model=TrainingJobSpec)
            continue
        broken = _broken_by(path, judge, before=spec, after=edited)
        refused += broken
        if not broken:
            spec = edited
        elif path == _NODES:
            spec = _with_value(spec, path, max(settled, min(value, living or 0)))
    return Edited(spec, refused)


def _broken_by(path: Path, judge: Judge, *, before: TrainingJobSpec, after: TrainingJobSpec) -> list[Problem]:
    """What the policies refuse of an edit: of a job that they refuse by now anyway, what it makes worse."""
    if path not in _JUDGED:
        return []
    known = judge(before)
    return [problem for problem in judge(after) if problem not in known]


def _said(config: JobConfig, job: Object) -> Iterator[tuple[Path, Any]]:
    """What the job says of the fields that it may change."""
    for path in LIVE_FIELDS if config.spec.elastic is None else (*LIVE_FIELDS, _NODES):
        value = _value(block(job, "spec"), path)
        if value is not None:
            yield path, value


def may_change(path: Path, value: Any, runtime: Object | None) -> bool:
    """Whether a runtime's policy lets a job set this."""
    spec = block(runtime, "spec")
    theirs = dict(leaves({key: part for key, part in spec.items() if key != "policy"}))
    return may_set(path, value, theirs=theirs, allowed=block(spec, "policy").get("allowed"))


def _locked(path: Path, value: Any, settled: Any) -> Problem:
    back = "leave it out" if settled is None else f"set it back to {settled!r}, or leave it out"
    return Problem(
        f"spec.{'.'.join(path)}", value, "isn't the job's to change: the policy of its runtime doesn't allow it",
        f"{back}; until then it counts as unchanged",
    )  # fmt: skip


def _value(spec: Object, path: Path) -> Any:
    return block(spec, *path[:-1]).get(path[-1])


def _with_value(spec: TrainingJobSpec, path: Path, value: Any) -> TrainingJobSpec:
    raw = spec.to_json()
    target = raw
    for parent in path[:-1]:
        target = target.setdefault(parent, {})
    target[path[-1]] = value
    return TrainingJobSpec.model_validate(raw)
