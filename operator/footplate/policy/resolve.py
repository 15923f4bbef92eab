"""Merges a job over its runtime, once a run, and holds the result against the API's rules and the runtime's policy.

The result, `job.json`, is kept in the run's ConfigMap: later edits of the runtime don't touch the run. What a user may
change on a living job isn't in it (`footplate.policy.mutable`), so it is the same whenever it is made.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from footplate.api.accelerators import ACCELERATORS, count
from footplate.api.errors import Problem, each_once, explain
from footplate.api.money import Prices
from footplate.api.preflight import Preflight
from footplate.api.runtime import ClusterTrainingRuntime, RuntimePolicy, TrainingRuntime
from footplate.api.trainer import ENTRY_KINDS
from footplate.api.trainingjob import TrainingJob, TrainingJobSpec
from footplate.api.types import Model
from footplate.contract import JOB_FILE, JobConfig
from footplate.errors import Terminal
from footplate.objects import Object, block, text
from footplate.policy import budget, rules
from footplate.policy.mutable import locked_fields, without_live_fields
from footplate.policy.variables import unexpanded_variables

_RUNTIMES: Mapping[str, type[Model]] = {
    "TrainingRuntime": TrainingRuntime,
    "ClusterTrainingRuntime": ClusterTrainingRuntime,
}

_NO_DEFAULTS = ("policy", "prices", "preflight")
"""What a runtime says that is no default for a job's spec."""
_TRAINER = ("trainer",)
_REPLACED_WHOLE = (("checkpoint", "every"), ("trainer", "source"), ("storage", "caBundle"))
"""Blocks of which exactly one member is set: a job's own replaces the runtime's."""
_MERGED_BY: Mapping[tuple[str, ...], str] = {
    ("trainer", "env"): "name",
    ("trainer", "metricDefinitions"): "name",
    ("podTemplate", "imagePullSecrets"): "name",
    ("podTemplate", "volumes"): "name",
    ("podTemplate", "volumeMounts"): "mountPath",
    ("podTemplate", "resourceClaims"): "name",
}
"""The lists that have keys, as in Kubernetes and in the CRDs."""

M = TypeVar("M", bound=Model)


class InvalidJob(Terminal):
    """The job breaks rules of the API."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = problems


class RuntimeRefuses(Terminal):
    """The job breaks rules of its runtime."""

    def __init__(self, runtime: str, problems: Sequence[Problem]) -> None:
        super().__init__(f"{runtime}: " + "; ".join(str(problem) for problem in problems))
        self.problems = problems


def resolve(job: Object, runtime: Object | None, *, run: int, accelerators: Sequence[str] = ACCELERATORS) -> JobConfig:
    """The job as it will run: runtime, then job, then the models' defaults. `accelerators` are the operator's names.

    Raises:
        InvalidJob: the job, its runtime or the merged spec breaks a rule of the API; with all that is wrong.
        RuntimeRefuses: the job sets what the runtime's policy doesn't allow.
    """
    blueprint, prices = _blueprint(runtime), _prices(runtime)
    spec, defaults = block(job, "spec"), {key: value for key, value in blueprint.items() if key not in _NO_DEFAULTS}
    own, problems = _read(TrainingJob, {key: job[key] for key in ("metadata", "spec") if key in job})
    # Without the reference nothing is left to somebody else to say: the models' rules hold for the whole.
    whole = _merge(defaults, {key: value for key, value in spec.items() if key != "runtimeRef"})
    merged, more = _read(TrainingJobSpec, whole, root="spec") if isinstance(job.get("spec"), Mapping) else (None, [])
    problems += [*more, *rules.too_large(whole)]
    problems += rules.broken(whole)
    if merged is not None:
        devices = count(merged.resources.limits, accelerators)
        problems += budget.mistakes(merged.run_policy.budget, devices=devices, prices=prices)
    if merged is not None and own is not None:
        problems += unexpanded_variables(JobConfig(metadata=own.metadata, run=run, spec=merged))
        problems += rules.uncounted(merged, accelerators)
    refused: Sequence[Problem] = ()
    policy = RuntimePolicy.model_validate(blueprint.get("policy") or {})
    if merged is not None and runtime is not None:
        refused = rules.refused(job, merged, defaults=defaults, policy=policy)
    if problems or own is None:
        raise InvalidJob(each_once([*problems, *refused]))
    if refused:
        raise RuntimeRefuses(f"{text(runtime or {}, 'kind')} {text(block(runtime, 'metadata'), 'name')}", refused)
    settled = TrainingJobSpec.model_validate(_merge(defaults, without_live_fields(spec)), by_name=False)
    pip = policy.pip if policy.pip.is_closed else None
    locked = locked_fields(runtime) or None
    preflight = Preflight.model_validate(asked) if (asked := blueprint.get("preflight")) is not None else None
    config = JobConfig(
        metadata=own.metadata, run=run, spec=settled, locked=locked, pip=pip, prices=prices, preflight=preflight
    )
    return _counted(config, accelerators)


def _counted(config: JobConfig, names: Sequence[str]) -> JobConfig:
    """With what the operator's names count as accelerators, where that differs from what anybody would count."""
    spec = config.spec
    devices = count(spec.resources.limits, names)
    if devices == spec.resources.accelerators:
        return config
    if spec.processes_per_node == "auto":
        spec = spec.model_copy(update={"processes_per_node": max(1, sum(devices.values()))})
    return config.model_copy(update={"spec": spec, "accelerators": devices})


def check_alone(job: Object) -> Sequence[Problem]:
    """What is wrong with a job whatever its runtime, which isn't at hand, may say."""
    _, problems = _read(TrainingJob, job)
    return [*problems, *rules.too_large(job.get("spec")), *rules.broken(block(job, "spec"), complete=False)]


def encode(config: JobConfig) -> str:
    """The text of job.json: the same for the same job, whatever the version of Python or pydantic."""
    return json.dumps(config.to_json(), sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    """SHA-256 of a job.json."""
    return hashlib.sha256(text.encode()).hexdigest()


def spec_digest(job: Object) -> str:
    """SHA-256 of a valid job's own spec, without what may change while it lives: the same for the same job, however
    often it is created, and whatever defaults its API server fills in. A value that is the default counts where the
    job has a runtime: there it overrides what that says.
    """
    spec = TrainingJobSpec.model_validate(without_live_fields(block(job, "spec")), by_name=False)
    said = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    if spec.runtime_ref is not None:
        said = _without_empty(spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True))
        said["runtimeRef"] = spec.runtime_ref.model_dump(mode="json", by_alias=True)
    if "elastic" in said:
        said.pop("nodes", None)
    return digest(json.dumps(said, sort_keys=True, separators=(",", ":")))


def _without_empty(said: Mapping[str, Any]) -> dict[str, Any]:
    """Without blocks in which nothing is said: they are as good as absent."""
    parts = {key: _without_empty(value) if isinstance(value, Mapping) else value for key, value in said.items()}
    return {key: value for key, value in parts.items() if value != {}}


def decode(run_config: Object, *, sha256: str) -> JobConfig | None:
    """The job in a run's ConfigMap; None where it isn't the one with this digest."""
    encoded = text(block(run_config, "data"), JOB_FILE)
    if digest(encoded) != sha256:
        return None
    try:
        return JobConfig.model_validate_json(encoded, extra="ignore")
    except ValidationError:
        return None


def _blueprint(runtime: Object | None) -> Object:
    """The runtime's spec, once it is known to keep the rules of its kind."""
    if runtime is None:
        return {}
    kind = text(runtime, "kind")
    parts = {key: runtime[key] for key in ("metadata", "spec") if key in runtime}
    _, problems = _read(_RUNTIMES.get(kind, TrainingRuntime), parts, root=kind)
    if problems:
        raise InvalidJob(problems)
    return block(runtime, "spec")


def _prices(runtime: Object | None) -> Prices | None:
    """What a runtime that keeps the rules of its kind says of prices."""
    prices = block(runtime, "spec").get("prices")
    return None if prices is None else Prices.model_validate(prices, by_name=False)


def _read(model: type[M], raw: object, *, root: str = "") -> tuple[M | None, list[Problem]]:
    """The model, or all that is wrong with it."""
    try:
        return model.model_validate(raw, by_name=False), []
    except ValidationError as error:
        return None, explain(error, root, model=model)


def _merge(base: Any, over: Any, path: tuple[str, ...] = ()) -> Any:
    """Maps are merged, and lists that have a key by it; everything else is replaced. Null is as good as absent."""
    if isinstance(base, Mapping) and isinstance(over, Mapping) and path not in _REPLACED_WHOLE:
        merged = {**base}
        if path == _TRAINER and any(over.get(kind) is not None for kind in ENTRY_KINDS):
            merged = {key: value for key, value in merged.items() if key not in ENTRY_KINDS}
        for key, value in over.items():
            if value is not None:
                merged[key] = _merge(merged.get(key), value, (*path, key))
        return merged
    key = _MERGED_BY.get(path)
    if key is not None and _has_keys(base, key) and _has_keys(over, key):
        return [*{**{item[key]: item for item in base}, **{item[key]: item for item in over}}.values()]
    return over


def _has_keys(value: Any, key: str) -> bool:
    """Whether it is a list whose items can be told by that key; where one comes twice, the list's own rule tells it."""
    if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
        return False
    keys = [item.get(key) for item in value]
    return all(isinstance(each, str) for each in keys) and len(set(keys)) == len(keys)
