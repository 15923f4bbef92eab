"""What the operator will make of a job, before there is one."""

from typing import Any

import pytest

from footplate.client.rendering import UNKNOWN_UID, render
from footplate.policy.resolve import InvalidJob, RuntimeRefuses

JOB: dict[str, Any] = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "digits", "namespace": "team"},
    "spec": {"trainer": {"image": "registry.example.com/trainer:1", "recipe": "image-classification"}, "nodes": 2},
}
RUNTIME: dict[str, Any] = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "ClusterTrainingRuntime",
    "metadata": {"name": "torch"},
    "spec": {"trainer": {"image": "registry.example.com/of-runtime:1"}, "policy": {"maxNodes": 2}},
}
ON_RUNTIME = {
    **JOB,
    "spec": {"trainer": {"recipe": "image-classification"}, "runtimeRef": {"name": "torch"}, "nodes": 2},
}


def test_the_objects_of_the_first_attempt() -> None:
    config_map, service, *pods = render(JOB)
    names = [each["metadata"]["name"] for each in (config_map, service, *pods)]
    assert names == ["digits-run-1-00000000", "digits-run-1-00000000", "digits-1-0-0", "digits-1-0-1"]
    assert [each["kind"] for each in (config_map, service, *pods)] == ["ConfigMap", "Service", "Pod", "Pod"]
    assert {each["metadata"]["ownerReferences"][0]["uid"] for each in (config_map, service, *pods)} == {UNKNOWN_UID}
    assert {each["metadata"]["namespace"] for each in (config_map, service, *pods)} == {"team"}


def test_the_same_as_the_operator_makes() -> None:
    """A job that has a UID is rendered with it, as a running operator sees it."""
    job = {**JOB, "metadata": {**JOB["metadata"], "uid": "0b9fb7b6-0000-4000-8000-000000000001"}}
    assert render(job)[0]["metadata"]["name"] == "digits-run-1-0b9fb7b6"


def test_over_a_runtime() -> None:
    [pod, *_] = [each for each in render(ON_RUNTIME, RUNTIME) if each["kind"] == "Pod"]
    assert pod["spec"]["containers"][0]["image"] == "registry.example.com/of-runtime:1"


def test_a_generated_name_is_shown_as_the_server_would_make_it() -> None:
    job = {**JOB, "metadata": {"generateName": "digits-", "namespace": "team"}}
    assert render(job)[-1]["metadata"]["name"] == "digits-xxxxx-1-0-1"


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(InvalidJob, match=r"spec.nodez = 2: unknown field; did you mean nodes"):
        render({**JOB, "spec": {**JOB["spec"], "nodez": 2}})
    with pytest.raises(RuntimeRefuses, match=r"spec\.nodes = 3"):
        render({**ON_RUNTIME, "spec": {**ON_RUNTIME["spec"], "nodes": 3}}, RUNTIME)
