"""The rules that the API's models can't hold: what a merged job must have, and what its runtime's policy says."""

from collections.abc import Iterator, Mapping
from typing import Any

from footplate.api.blocks import ENTRY_KINDS
from footplate.api.errors import Problem
from footplate.api.runtime import RuntimePolicy
from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import Object, block, text
from footplate.podspec import RESERVED_ENV

Path = tuple[str, ...]


def broken(spec: TrainingJobSpec) -> list[Problem]:
    """What keeps a merged job from running, whatever its runtime allows."""
    return [*_incomplete(spec), *_dangling(spec), *_reserved(spec), *_unsupported(spec)]


def refused(job: Object, merged: TrainingJobSpec, *, defaults: Object, policy: RuntimePolicy) -> list[Problem]:
    """What the runtime's policy refuses.

    Args:
        job: the job as its user wrote it.
        merged: the same over its runtime.
        defaults: the runtime's spec without its policy.
        policy: the runtime's policy.
    """
    return [
        *_refused_overrides(block(job, "spec"), defaults, policy.allowed),
        *_refused_image(merged, policy),
        *_refused_size(merged, policy),
        *_refused_uris(merged, policy, namespace=text(block(job, "metadata"), "namespace")),
        *_missing_labels(block(job, "metadata", "labels"), policy),
    ]


def may_set(path: Path, value: Any, *, theirs: Mapping[Path, Any], allowed: object) -> bool:
    """Whether a runtime whose fields are `theirs` lets a job set one; `allowed` is None where it lets it set all.
    To stop is always the job's own.
    """
    if not isinstance(allowed, list) or (path == ("runPolicy", "suspend") and value is True):
        return True
    dotted = ".".join(path)
    if any(dotted == prefix or dotted.startswith(f"{prefix}.") for prefix in allowed):
        return True
    return all(value == their for other, their in theirs.items() if _overlap(path, other))


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """The fields of a raw spec that aren't objects themselves, with their paths."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from leaves(child, (*path, str(key)))
    elif path and value is not None:
        yield path, value


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


def _dangling(spec: TrainingJobSpec) -> Iterator[Problem]:
    volumes = {volume.name for volume in spec.pod_template.volumes}
    for index, mount in enumerate(spec.pod_template.volume_mounts):
        if mount.name not in volumes:
            yield Problem(
                f"spec.podTemplate.volumeMounts[{index}].name", mount.name, "names no volume",
                f"add it to spec.podTemplate.volumes, which has {', '.join(sorted(volumes)) or 'none'}",
            )  # fmt: skip


def _reserved(spec: TrainingJobSpec) -> Iterator[Problem]:
    for index, variable in enumerate(spec.trainer.env):
        if variable.name in RESERVED_ENV:
            yield Problem(
                f"spec.trainer.env[{index}].name", variable.name, "is set by the operator", "choose another name"
            )


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


def _refused_overrides(spec: Object, defaults: Object, allowed: list[str] | None) -> Iterator[Problem]:
    theirs = dict(leaves(defaults))
    for path, value in leaves(spec):
        if not may_set(path, value, theirs=theirs, allowed=allowed):
            yield Problem(
                f"spec.{'.'.join(path)}", value, "overrides the runtime, whose policy doesn't allow it",
                f"leave it out; jobs may override {', '.join(allowed or ()) or 'nothing'}",
            )  # fmt: skip


def _refused_image(spec: TrainingJobSpec, policy: RuntimePolicy) -> Iterator[Problem]:
    if policy.image_prefixes and not (spec.trainer.image or "").startswith(tuple(policy.image_prefixes)):
        yield Problem(
            "spec.trainer.image", spec.trainer.image, "doesn't begin with a prefix that the runtime allows",
            f"use an image from {', '.join(policy.image_prefixes)}",
        )  # fmt: skip


def _refused_size(spec: TrainingJobSpec, policy: RuntimePolicy) -> Iterator[Problem]:
    most = max(spec.nodes, spec.elastic.max_nodes if spec.elastic else 0)
    if policy.max_nodes is not None and most > policy.max_nodes:
        field = "spec.elastic.maxNodes" if most > spec.nodes else "spec.nodes"
        yield Problem(field, most, "is more than the runtime allows", f"ask for {policy.max_nodes} at most")


def _refused_uris(spec: TrainingJobSpec, policy: RuntimePolicy, *, namespace: str) -> Iterator[Problem]:
    """A prefix ends where a path segment does: a team's folder doesn't open that of another whose name goes on."""
    prefixes = [prefix.replace("{namespace}", namespace).rstrip("/") + "/" for prefix in policy.uri_prefixes]
    for path, uri in _uris(spec):
        if prefixes and not f"{uri}/".startswith(tuple(prefixes)):
            yield Problem(
                path, uri, "lies outside the prefixes that the runtime allows this namespace",
                f"use an address below {', '.join(prefixes)}",
            )  # fmt: skip


def _missing_labels(labels: Object, policy: RuntimePolicy) -> Iterator[Problem]:
    for label in policy.required_labels:
        if not labels.get(label):
            yield Problem("metadata.labels", None, f"lacks {label!r}, which the runtime requires", "add the label")


def _overlap(path: Path, other: Path) -> bool:
    """True where setting `path` changes what `other` says, one-of groups included."""
    shorter = min(len(path), len(other))
    same = path[:shorter] == other[:shorter]
    return same or (path[0] == other[0] == "trainer" and path[1] in ENTRY_KINDS and other[1] in ENTRY_KINDS)


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
