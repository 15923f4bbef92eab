"""Merges a job over its runtime, once a run, and holds the result against the runtime's policy.

The result, `job.json`, is kept in the run's ConfigMap: later edits of the runtime don't touch the run. Only what a
user may change on a living job is read from the job itself (`with_live_fields`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from footplate.api.blocks import ENTRY_KINDS
from footplate.api.errors import Problem, explain
from footplate.api.runtime import RuntimePolicy, RuntimeSpec
from footplate.api.trainingjob import TrainingJob, TrainingJobSpec
from footplate.api.types import Model
from footplate.contract import JOB_FILE, JobConfig
from footplate.errors import Terminal
from footplate.policy.plan import Manifest

LIVE_FIELDS = (
    ("nodes",),
    ("runPolicy", "suspend"),
    ("runPolicy", "restartNonce"),
    ("runPolicy", "ttlSecondsAfterFinished"),
    ("runPolicy", "activeDeadlineSeconds"),
    ("scheduling", "priorityClassName"),
)
"""What a user may change after creation."""

_REPLACED_WHOLE = ("every", "source", "elastic")
"""Blocks of which exactly one member is set: a job's own replaces the runtime's."""

Path = tuple[str, ...]
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


def resolve(job: Manifest, runtime: Manifest | None, *, run: int) -> JobConfig:
    """The job as it will run: runtime, then job, then the models' defaults.

    Raises:
        InvalidJob: the merged spec breaks a rule of the API; nothing but another spec (or runtime) helps.
        RuntimeRefuses: the job sets what the runtime's policy doesn't allow.
    """
    spec: Mapping[str, Any] = job.get("spec") or {}
    blueprint: Mapping[str, Any] = (runtime or {}).get("spec") or {}
    defaults = {key: value for key, value in blueprint.items() if key != "policy"}
    written = _parse(TrainingJob, {"metadata": job.get("metadata") or {}, "spec": spec}, root="")
    if runtime is not None:
        _parse(RuntimeSpec, blueprint, root=f"the {runtime.get('kind')}'s spec")
    parsed = written.model_copy(update={"spec": _parse(TrainingJobSpec, _merge(defaults, spec), root="spec")})
    problems = list(_incomplete(parsed.spec)) + list(_unsupported(parsed.spec))
    if problems:
        raise InvalidJob(problems)
    if runtime is not None:
        policy = RuntimePolicy.model_validate(blueprint.get("policy") or {})
        refused = list(_refused(job, parsed, defaults=defaults, policy=policy))
        if refused:
            name = (runtime.get("metadata") or {}).get("name")
            raise RuntimeRefuses(f"{runtime.get('kind')} {name}", refused)
    host_paths = list(_foreign_host_paths(runtime))
    if host_paths:
        raise InvalidJob(host_paths)
    return JobConfig(metadata=parsed.metadata, run=run, spec=parsed.spec)


def _parse(model: type[M], value: Any, *, root: str) -> M:
    try:
        return model.model_validate(value, by_name=False)
    except ValidationError as error:
        raise InvalidJob(explain(error, root, model=model)) from error


def encode(config: JobConfig) -> str:
    """The text of job.json: the same for the same job, whatever the version of Python or pydantic."""
    return json.dumps(config.to_json(), sort_keys=True, separators=(",", ":"))


def digest(text: str) -> str:
    """SHA-256 of a job.json."""
    return hashlib.sha256(text.encode()).hexdigest()


def decode(run_config: Manifest, *, sha256: str) -> JobConfig | None:
    """The job in a run's ConfigMap; None where it isn't the one with this digest."""
    text = (run_config.get("data") or {}).get(JOB_FILE)
    if not isinstance(text, str) or digest(text) != sha256:
        return None
    return JobConfig.model_validate_json(text, extra="ignore")


def with_live_fields(config: JobConfig, job: Manifest) -> TrainingJobSpec:
    """The resolved spec with what the user may have changed since."""
    spec = config.spec.to_json()
    live = job.get("spec") or {}
    for *parents, field in LIVE_FIELDS:
        source, target = live, spec
        for parent in parents:
            source, target = source.get(parent) or {}, target.setdefault(parent, {})
        if field in source:
            target[field] = source[field]
    try:
        return TrainingJobSpec.model_validate(spec)
    except ValidationError:
        return config.spec


def _merge(base: Any, over: Any) -> Any:
    """Maps are merged, lists of named objects by name, everything else is replaced."""
    if isinstance(base, Mapping) and isinstance(over, Mapping):
        merged = {**base}
        if any(over.get(kind) is not None for kind in ENTRY_KINDS):
            merged = {key: value for key, value in merged.items() if key not in ENTRY_KINDS}
        for key, value in over.items():
            merged[key] = _merge(base[key], value) if key in base and key not in _REPLACED_WHOLE else value
        return merged
    if _named(base) and _named(over):
        return [*{**{item["name"]: item for item in base}, **{item["name"]: item for item in over}}.values()]
    return over


def _named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def _incomplete(spec: TrainingJobSpec) -> Iterator[Problem]:
    """What the API can't demand of a job that has a runtime, and the merged job must have."""
    trainer = spec.trainer
    if trainer.image is None:
        yield Problem(
            "spec.trainer.image", None, "is required",
            "name the trainer's image, or a runtime that has one in spec.runtimeRef",
        )  # fmt: skip
    if all(getattr(trainer, kind) is None for kind in ENTRY_KINDS):
        yield Problem("spec.trainer", None, "must say what to run", "set exactly one of recipe, entrypoint and command")
    if spec.checkpoint is not None and spec.checkpoint.uri is None:
        yield Problem(
            "spec.checkpoint.uri", None, "is required where checkpoint is set",
            "name a folder such as s3://checkpoints/my-job/, or leave the block out",
        )  # fmt: skip
    volumes = {volume.name for volume in spec.pod_template.volumes}
    for index, mount in enumerate(spec.pod_template.volume_mounts):
        if mount.name not in volumes:
            yield Problem(
                f"spec.podTemplate.volumeMounts[{index}].name", mount.name, "names no volume",
                f"add it to spec.podTemplate.volumes, which has {', '.join(sorted(volumes)) or 'none'}",
            )  # fmt: skip


def _unsupported(spec: TrainingJobSpec) -> Iterator[Problem]:
    """What the API names and this version doesn't do yet: refused rather than ignored."""
    if spec.scheduling.gang not in ("auto", "none"):
        yield Problem(
            "spec.scheduling.gang", spec.scheduling.gang, "isn't supported by this version of the operator",
            "use auto or none; a half-scheduled gang is released after runPolicy.schedulingTimeoutSeconds",
        )  # fmt: skip
    if spec.scheduling.queue_name:
        yield Problem(
            "spec.scheduling.queueName", spec.scheduling.queue_name, "isn't supported by this version of the operator",
            "leave it out; to wait for a queue of your own, create the job with runPolicy.suspend: true",
        )  # fmt: skip


def _foreign_host_paths(runtime: Manifest | None) -> Iterator[Problem]:
    """A node's folders are the platform team's to give: only a ClusterTrainingRuntime may name them."""
    if runtime is None or runtime.get("kind") == "ClusterTrainingRuntime":
        return
    for index, volume in enumerate(((runtime.get("spec") or {}).get("podTemplate") or {}).get("volumes") or ()):
        if volume.get("hostPath") is not None:
            yield Problem(
                f"the TrainingRuntime's spec.podTemplate.volumes[{index}].hostPath", volume["hostPath"].get("path"),
                "is allowed in a ClusterTrainingRuntime only",
                "use a persistentVolumeClaim, or ask the platform team for a runtime that has the folder",
            )  # fmt: skip


def _refused(
    job: Manifest, parsed: TrainingJob, *, defaults: Mapping[str, Any], policy: RuntimePolicy
) -> Iterator[Problem]:
    spec = parsed.spec
    yield from _refused_overrides(job.get("spec") or {}, defaults, policy.allowed)
    if policy.image_prefixes and not (spec.trainer.image or "").startswith(tuple(policy.image_prefixes)):
        yield Problem(
            "spec.trainer.image", spec.trainer.image, "doesn't begin with a prefix that the runtime allows",
            f"use an image from {', '.join(policy.image_prefixes)}",
        )  # fmt: skip
    most = max(spec.nodes, spec.elastic.max_nodes if spec.elastic else 0)
    if policy.max_nodes is not None and most > policy.max_nodes:
        yield Problem("spec.nodes", most, "is more than the runtime allows", f"ask for {policy.max_nodes} at most")
    prefixes = tuple(prefix.replace("{namespace}", parsed.metadata.namespace) for prefix in policy.uri_prefixes)
    for path, uri in _uris(spec):
        if prefixes and not uri.startswith(prefixes):
            yield Problem(
                path, uri, "lies outside the prefixes that the runtime allows this namespace",
                f"use an address below {', '.join(prefixes)}",
            )  # fmt: skip
    labels = (job.get("metadata") or {}).get("labels") or {}
    for label in policy.required_labels:
        if not labels.get(label):
            yield Problem("metadata.labels", None, f"lacks {label!r}, which the runtime requires", "add the label")


def _refused_overrides(
    spec: Mapping[str, Any], defaults: Mapping[str, Any], allowed: list[str] | None
) -> Iterator[Problem]:
    if allowed is None:
        return
    theirs = dict(_leaves(defaults))
    for path, value in _leaves(spec):
        dotted = ".".join(path)
        covered = any(dotted == prefix or dotted.startswith(prefix + ".") for prefix in allowed)
        if not covered and any(_overlap(path, other) and value != theirs[other] for other in theirs):
            yield Problem(
                f"spec.{dotted}", value, "overrides the runtime, whose policy doesn't allow it",
                f"leave it out; jobs may override {', '.join(allowed) or 'nothing'}",
            )  # fmt: skip


def _overlap(path: Path, other: Path) -> bool:
    """True where setting `path` changes what `other` says, one-of groups included."""
    shorter = min(len(path), len(other))
    same = path[:shorter] == other[:shorter]
    return same or (path[0] == other[0] == "trainer" and path[1] in ENTRY_KINDS and other[1] in ENTRY_KINDS)


def _leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, (*path, str(key)))
    elif path:
        yield path, value


def _uris(spec: TrainingJobSpec) -> Iterator[tuple[str, str]]:
    for index, channel in enumerate(spec.inputs):
        yield f"spec.inputs[{index}].uri", channel.uri
    if spec.trainer.source and spec.trainer.source.uri:
        yield "spec.trainer.source.uri", spec.trainer.source.uri
    if spec.checkpoint and spec.checkpoint.uri:
        yield "spec.checkpoint.uri", spec.checkpoint.uri
        if "://" in spec.checkpoint.resume:
            yield "spec.checkpoint.resume", spec.checkpoint.resume
    if spec.output:
        yield "spec.output.uri", spec.output.uri
