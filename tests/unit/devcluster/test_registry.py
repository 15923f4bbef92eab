"""The verbs with a clock of their own. What the API says, test_conformance holds against Kubernetes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from footplate.devcluster.errors import ApiError
from footplate.devcluster.registry import Deletion, Options, Registry
from footplate.devcluster.store import Body, Store

START = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(clock: Clock) -> Registry:
    made = Registry(Store(), clock=clock)
    made.create(made.resources["", "v1", "namespaces"], "", {"metadata": {"name": "default"}}, Options())
    return made


def create(registry: Registry, plural: str, body: Body, **options: Any) -> Body:
    return registry.create(registry.resources["", "v1", plural], "default", body, Options(**options)).body


def pod(name: str = "p", **spec: Any) -> Body:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "x"}], **spec}}


def test_a_graceful_deletion_ends_at_a_moment(registry: Registry, clock: Clock) -> None:
    create(registry, "pods", pod(nodeName="n", terminationGracePeriodSeconds=30))
    pods = registry.resources["", "v1", "pods"]
    clock.now += timedelta(seconds=10)
    first, _ = registry.delete(pods, "default", "p", Deletion())
    assert first.body["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:40Z"
    clock.now += timedelta(seconds=5)
    second, _ = registry.delete(pods, "default", "p", Deletion(grace=3))
    assert second.body["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:13Z"
    registry.delete(pods, "default", "p", Deletion(grace=0))
    assert not registry.exists(pods, "default", "p")


def test_generated_names_differ(registry: Registry) -> None:
    names = {
        create(registry, "configmaps", {"metadata": {"generateName": "c-"}})["metadata"]["name"] for _ in range(20)
    }
    assert len(names) == 20
    assert all(name.startswith("c-") and len(name) == 7 for name in names)


def test_what_the_server_sets_cannot_be_sent(registry: Registry) -> None:
    sent = {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 9, "deletionTimestamp": "2000"}
    metadata = create(registry, "pods", {**pod(), "metadata": {"name": "p", **sent}})["metadata"]
    assert metadata["uid"] != "mine"
    assert (metadata["creationTimestamp"], metadata["generation"]) == ("2026-01-01T00:00:00Z", 1)
    assert "deletionTimestamp" not in metadata


def test_a_stored_version_never_changes(registry: Registry) -> None:
    pods = registry.resources["", "v1", "pods"]
    before = registry.create(pods, "default", pod(), Options())
    text = str(before.body)

    def change(body: Body) -> Body:
        body["spec"]["containers"][0]["image"] = "y"
        body["metadata"]["labels"] = {"a": "b"}
        return body

    after = registry.update(pods, "default", "p", change, Options())
    assert after.body["spec"]["containers"][0]["image"] == "y"
    assert str(before.body) == text


def test_priority_comes_from_its_class(registry: Registry) -> None:
    classes = registry.resources["scheduling.k8s.io", "v1", "priorityclasses"]
    registry.create(classes, "", {"metadata": {"name": "high"}, "value": 100}, Options())
    assert create(registry, "pods", pod(priorityClassName="high"))["spec"]["priority"] == 100


def test_a_pod_needs_the_service_account_that_it_names(registry: Registry) -> None:
    with pytest.raises(ApiError) as refused:
        create(registry, "pods", pod(serviceAccountName="me"))
    why = 'error looking up service account default/me: serviceaccount "me" not found'
    assert (refused.value.code, refused.value.message) == (403, f'pods "p" is forbidden: {why}')
    create(registry, "serviceaccounts", {"metadata": {"name": "me"}})
    create(registry, "pods", pod(serviceAccountName="me"))


def test_warnings_tell_unknown_fields(registry: Registry) -> None:
    configs = registry.resources["", "v1", "configmaps"]
    for validation, told in (("Warn", ['unknown field "dat"']), ("Ignore", [])):
        options = Options(validation=validation)
        registry.create(configs, "default", {"metadata": {"name": validation.lower()}, "dat": {}}, options)
        assert options.warnings == told
