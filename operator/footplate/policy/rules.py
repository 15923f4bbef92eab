"""The rules that the API's models can't hold: what a recipe takes, what refers to what isn't there, and what a
runtime's policy says.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from pydantic import ValidationError

from footplate.api import evaluation, recipes
from footplate.api.accelerators import count
from footplate.api.errors import Problem
from footplate.api.recipe_inputs import find_conflicts
from footplate.api.runtime import RuntimePolicy
from footplate.api.trainer import ENTRY_KINDS
from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import Object, block, blocks, text
from footplate.policy.variables import unknown_variables

MAX_SPEC_BYTES = 262_144
"""Of a whole spec as JSON: the last line behind the bounds of its fields."""

Path = tuple[str, ...]


def broken(spec: Object, *, complete: bool = True) -> list[Problem]:
    """What keeps a job from running, whatever its runtime allows. Raw, so that a mistake elsewhere hides nothing.

    Args:
        spec: the job, over its runtime if it has one.
        complete: False where that runtime isn't at hand, which may bring what is missing.
    """
    found = [*unknown_variables(spec), *_lost_working_dir(spec), *_recipes_mistakes(spec), *_evaluations_mistakes(spec)]
    return [problem for problem in found if complete or not problem.is_missing]


def _recipes_mistakes(spec: Object) -> Iterable[Problem]:
    recipe = text(block(spec, "trainer"), "recipe")
    if recipe not in recipes.RECIPES:
        return ()
    values = block(spec, "trainer", "hyperparameters")
    return recipes.find_mistakes(recipe, values) or _conflicts(recipe, values, spec)


def _conflicts(recipe: str, values: Object, spec: Object) -> Iterable[Problem]:
    settings = recipes.RECIPES[recipe].model_validate(dict(values))
    channels = [text(channel, "name") for channel in blocks(spec, "inputs")]
    formats = block(spec, "output").get("formats")
    written = [name for name in formats if isinstance(name, str)] if isinstance(formats, list) else []
    return find_conflicts(recipe, settings, channels=channels, formats=written)


def _evaluations_mistakes(spec: Object) -> Iterable[Problem]:
    try:
        asked = evaluation.Evaluation.model_validate(dict(block(spec, "evaluation")), by_name=False)
    except ValidationError:  # the fields' own rules tell it
        return ()
    return evaluation.find_mistakes(asked, recipe=text(block(spec, "trainer"), "recipe"))


def _lost_working_dir(spec: Object) -> Iterator[Problem]:
    """A folder in a source that isn't there."""
    folder = text(block(spec, "trainer"), "workingDir")
    if folder and not folder.startswith("/") and not block(spec, "trainer", "source"):
        yield Problem(
            "spec.trainer.workingDir", folder, "is a folder of trainer.source, and there is none",
            "set trainer.source, or name an absolute path of the image", is_missing=True,
        )  # fmt: skip


def uncounted(spec: TrainingJobSpec, accelerators: Sequence[str]) -> Iterator[Problem]:
    """That ranks are to be as many as there are accelerators, and only a claim knows how many these are."""
    claims = [claim.name for claim in spec.pod_template.resource_claims or ()]
    starts_ranks = spec.trainer.command is None
    if claims and starts_ranks and spec.processes_per_node == "auto" and not count(spec.resources.limits, accelerators):
        yield Problem(
            "spec.processesPerNode", "auto",
            f"can't be known: podTemplate.resourceClaims ({', '.join(claims)}) don't say beforehand how many devices a "
            "pod gets, and resources.limits has no accelerators",
            "write the number of ranks in each pod, such as 8",
        )  # fmt: skip


def too_large(spec: object) -> list[Problem]:
    """That a raw spec is too large to be kept, if it is."""
    size = len(json.dumps(spec, separators=(",", ":"), ensure_ascii=False).encode(errors="replace"))
    if size <= MAX_SPEC_BYTES:
        return []
    way_out = "put large values into files, and name these as inputs or in a ConfigMap"
    return [Problem("spec", None, f"is {size:,} bytes of JSON, the most is {MAX_SPEC_BYTES:,}", way_out)]


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
        *_refused_mounts(block(job, "spec"), merged, defaults),
        *_refused_image(merged, policy),
        *_refused_size(merged, policy),
        *_refused_requirements(merged, policy),
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


def _refused_overrides(spec: Object, defaults: Object, allowed: list[str] | None) -> Iterator[Problem]:
    theirs = dict(leaves(defaults))
    for path, value in leaves(spec):
        if not may_set(path, value, theirs=theirs, allowed=allowed):
            yield Problem(
                f"spec.{'.'.join(path)}", value, "overrides the runtime, whose policy doesn't allow it",
                f"leave it out; jobs may override {', '.join(allowed or ()) or 'nothing'}",
            )  # fmt: skip


def _refused_mounts(spec: Object, merged: TrainingJobSpec, defaults: Object) -> Iterator[Problem]:
    """A runtime's hostPath is the platform's: a job sees no more of it, and may write no more, than the runtime's own
    mounts show; all of it, read-only, where it has none.
    """
    host_paths = {volume.name for volume in merged.pod_template.volumes if volume.host_path is not None}
    theirs = blocks(block(defaults, "podTemplate"), "volumeMounts")
    for index, mount in enumerate(blocks(block(spec, "podTemplate"), "volumeMounts")):
        name = text(mount, "name")
        shown = [their for their in theirs if text(their, "name") == name] or [{"readOnly": True}]
        if name in host_paths and not any(_shows_no_more(mount, their) for their in shown):
            yield Problem(
                f"spec.podTemplate.volumeMounts[{index}]", name,
                "is a hostPath of the runtime, and may show no more of it than the runtime's own mounts do",
                "set readOnly: true, or keep to the runtime's subPath",
            )  # fmt: skip


def _shows_no_more(mount: Object, their: Object) -> bool:
    inside = PurePosixPath(text(mount, "subPath")).is_relative_to(text(their, "subPath"))
    return inside and (mount.get("readOnly") is True or their.get("readOnly") is not True)


def _refused_image(spec: TrainingJobSpec, policy: RuntimePolicy) -> Iterator[Problem]:
    image = spec.trainer.image or ""
    if policy.image_prefixes and not any(_lies_in(image, prefix) for prefix in policy.image_prefixes):
        yield Problem(
            "spec.trainer.image", image, "lies outside the prefixes that the runtime allows",
            f"use an image from {', '.join(policy.image_prefixes)}",
        )  # fmt: skip


def _lies_in(image: str, prefix: str) -> bool:
    """A prefix ends where a part of an image's name does: what follows a registry isn't another one's name or port."""
    if not image.startswith(prefix):
        return False
    rest = image[len(prefix) :]
    is_registry = "/" not in prefix and (prefix == "localhost" or "." in prefix or ":" in prefix)
    return not rest or prefix[-1] in "/:@" or rest[0] in ("/@" if is_registry else "/:@")


def _refused_size(spec: TrainingJobSpec, policy: RuntimePolicy) -> Iterator[Problem]:
    most = max(spec.nodes, spec.elastic.max_nodes if spec.elastic else 0)
    if policy.max_nodes is not None and most > policy.max_nodes:
        field = "spec.elastic.maxNodes" if most > spec.nodes else "spec.nodes"
        yield Problem(field, most, "is more than the runtime allows", f"ask for {policy.max_nodes} at most")


def _refused_requirements(spec: TrainingJobSpec, policy: RuntimePolicy) -> Iterator[Problem]:
    """Those in the source are the trainer's to refuse, by the same policy."""
    for index, line in enumerate(spec.trainer.requirements or ()):
        path = f"spec.trainer.requirements[{index}]"
        if policy.pip.install == "never":
            yield Problem(
                path, line, "isn't installed: the runtime's policy lets jobs have what is in their image",
                "leave it out, and take an image that has it",
            )  # fmt: skip
        elif address := policy.pip.refused_address(line):
            yield Problem(
                path, line, f"leads to {address}, from where the runtime's policy lets no package come",
                f"take it from {policy.pip.places}",
            )  # fmt: skip


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
        if spec.checkpoint.init_from:
            yield "spec.checkpoint.initFrom", spec.checkpoint.init_from
    if spec.output:
        yield "spec.output.uri", spec.output.uri
