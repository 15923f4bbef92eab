"""No field of a job's spec is forgotten: each is ruled over by TrainingPolicies, or free for a reason."""

import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel

from boundary_cases import HONEST
from footplate.api.errors import _plain
from footplate.api.policy import TrainingPolicySpec
from footplate.api.trainingjob import TrainingJobSpec
from footplate.policy.allowed import LIST_RULES
from footplate.policy.places import FREE, PLACES, TOGETHER

OF_A_PLACE = {"trainer.env[]": ("name", "value")}
"""Of these places, the fields of an item that are read; of the others, all of it."""

SENSITIVE = {"secret", "uri", "url", "image", "endpoint", "token", "account", "host", "claim", "class", "driver"}
"""Words in names of fields that may reach beyond a pod: being below a block that is free doesn't make one free."""

KNOWN = {
    "podTemplate.volumes[].persistentVolumeClaim.claimName": "a claim of the namespace",
    "podTemplate.volumes[].persistentVolumeClaim.readOnly": "a claim of the namespace",
    "podTemplate.volumes[].hostPath.path": "refused by the API",
    "podTemplate.volumes[].hostPath.type": "refused by the API",
    "podTemplate.volumes[].csi.readOnly": "how it is mounted",
    "podTemplate.volumes[].secret.items[].key": "which key",
    "podTemplate.volumes[].secret.items[].path": "which file",
    "podTemplate.volumes[].secret.optional": "whether it must be there",
    "trainer.env[].valueFrom.secretKeyRef.key": "which key",
    "trainer.env[].valueFrom.secretKeyRef.optional": "whether it must be there",
    "output.sign.secretKeyRef.key": "which key",
    "storage.caBundle.secretKeyRef.key": "which key",
    "trainer.source.git.ref": "a commit",
}


def fields(annotation: Any, path: str = "") -> Iterator[str]:
    plain = _plain(annotation)
    if get_origin(plain) is list:
        yield from fields(get_args(plain)[0], f"{path}[]")
    elif isinstance(plain, type) and issubclass(plain, BaseModel):
        for name, field in plain.model_fields.items():
            yield from fields(field.annotation, f"{path}.{field.alias or name}".lstrip("."))
    else:
        yield path + ("{}" if get_origin(plain) is dict else "")


FIELDS = [*fields(TrainingJobSpec)]


def words_of(path: str) -> set[str]:
    """Of a field and the one above it."""
    return {word.lower() for name in path.split(".")[-2:] for word in re.findall("[A-Z]?[a-z]+", name)}


def is_ruled(path: str) -> bool:
    return any(_covers(place.path, path) for place in PLACES) or _is_below(path, TOGETHER)


def _covers(place: str, path: str) -> bool:
    if place in OF_A_PLACE:
        return path in [f"{place}.{name}" for name in OF_A_PLACE[place]]
    return _is_below(path, (place,))


def _is_below(path: str, blocks: Any) -> bool:
    return any(path == each or path.startswith((f"{each}.", f"{each}[", f"{each}{{")) for each in blocks)


def test_all_fields_are_looked_at() -> None:
    assert len(FIELDS) > 150
    assert {"trainer.image", "inputs[].secretRef.name", "podTemplate.labels{}"} <= set(FIELDS)


@pytest.mark.parametrize("path", FIELDS)
def test_a_field_is_ruled_over_or_free_for_a_reason(path: str) -> None:
    assert is_ruled(path) != _is_below(path, FREE), "add it to PLACES, or to FREE with a reason"
    if not is_ruled(path) and words_of(path) & SENSITIVE:
        assert path in KNOWN, "it may reach beyond the pod: add it to PLACES, or here with a reason"


def test_nothing_stands_in_the_tables_that_there_isnt() -> None:
    for path in (*(place.path for place in PLACES), *TOGETHER, *FREE):
        assert any(_is_below(each, (path,)) for each in FIELDS), path
    assert set(KNOWN) <= set(FIELDS)


def test_every_rule_is_a_field_of_a_policy_and_every_list_of_a_policy_is_a_rule() -> None:
    lists = {
        field.alias or name
        for name, field in TrainingPolicySpec.model_fields.items()
        if get_origin(_plain(field.annotation)) is list
    }
    assert lists == set(LIST_RULES)
    assert {place.rule for place in PLACES} == lists | {"foreignPods"}


def test_the_honest_job_has_something_at_most_places() -> None:
    """So that what it is let through with is worth something."""
    empty = {place.path for place in PLACES if not [*place.texts(HONEST)]}
    assert all("ffinity" in path for path in empty - UNUSED), empty


UNUSED = {
    "trainer.source.uri",
    "storage.caBundle.secretKeyRef.name",
    "podTemplate.volumes[].csi.volumeAttributes{}",
    "podTemplate.volumes[].csi.driver",
    "podTemplate.runtimeClassName",
    "podTemplate.resourceClaims[].resourceClaimName",
    "podTemplate.resourceClaims[].resourceClaimTemplateName",
    "podTemplate.schedulerName",
    "scheduling.gang",
    "scheduling.queueName",
    "output.sign.secretKeyRef.name",
}
"""Of which there is only one, or which STRICT allows nobody."""
