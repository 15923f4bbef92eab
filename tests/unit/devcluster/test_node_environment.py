"""Variables as a kubelet makes them, and what becomes of paths and names on a host."""

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from footplate.devcluster.environment import (
    ContainerConfigError,
    Rewriter,
    expand,
    pod_address,
    resolve_environment,
)

POD: dict[str, Any] = {
    "metadata": {
        "name": "p",
        "namespace": "team",
        "uid": "u-1",
        "labels": {"a.b/c": "label"},
        "annotations": {"n": "note"},
    },
    "spec": {"nodeName": "node-0", "serviceAccountName": "robot"},
    "status": {"podIP": "127.1.2.3", "hostIP": "127.0.0.1"},
}
DATA: dict[tuple[str, str], dict[str, bytes]] = {
    ("secrets", "s3"): {"KEY": b"k", "SECRET": b"s"},
    ("configmaps", "settings"): {"LEVEL": b"3"},
}


async def look_up(resource: str, name: str) -> Mapping[str, bytes] | None:
    return DATA.get((resource, name))


def variable(variable_name: str, kind: str, **reference: Any) -> dict[str, Any]:
    return {"name": variable_name, "valueFrom": {kind: reference}}


def field(path: str) -> dict[str, Any]:
    return variable("X", "fieldRef", fieldPath=path)


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("x-$(A)-y", "x-1-y"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$$$$(A)", "$$(A)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
        ("$()", "$()"),
        ("$(A)(B)", "1(B)"),
    ],
)
def test_expand(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expanded


@pytest.mark.parametrize(
    ("container", "variables"),
    [
        pytest.param({"env": [{"name": "X"}]}, {"X": ""}, id="no-value"),
        pytest.param(
            {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)$(C)"}, {"name": "C", "value": "3"}]},
            {"A": "1", "B": "1$(C)", "C": "3"},
            id="only-earlier-ones-expand",
        ),
        pytest.param(
            {"envFrom": [{"secretRef": {"name": "s3"}}], "env": [{"name": "KEY", "value": "mine-$(KEY)"}]},
            {"KEY": "mine-k", "SECRET": "s"},
            id="env-over-env-from",
        ),
        pytest.param(
            {"envFrom": [{"prefix": "P_", "configMapRef": {"name": "settings"}}]}, {"P_LEVEL": "3"}, id="prefix"
        ),
        pytest.param({"envFrom": [{"secretRef": {"name": "none", "optional": True}}]}, {}, id="optional-source"),
        pytest.param({"env": [variable("X", "secretKeyRef", name="s3", key="KEY")]}, {"X": "k"}, id="secret-key"),
        pytest.param(
            {"env": [variable("X", "configMapKeyRef", name="settings", key="LEVEL")]}, {"X": "3"}, id="map-key"
        ),
        pytest.param(
            {"env": [variable("X", "secretKeyRef", name="s3", key="NONE", optional=True)]}, {}, id="optional-key"
        ),
        pytest.param({"env": [field("metadata.name")]}, {"X": "p"}, id="name"),
        pytest.param({"env": [field("metadata.uid")]}, {"X": "u-1"}, id="uid"),
        pytest.param({"env": [field("metadata.labels['a.b/c']")]}, {"X": "label"}, id="label"),
        pytest.param({"env": [field("metadata.annotations['none']")]}, {"X": ""}, id="no-annotation"),
        pytest.param({"env": [field("status.podIP")]}, {"X": "127.1.2.3"}, id="address"),
        pytest.param({"env": [field("spec.nodeName")]}, {"X": "node-0"}, id="node"),
        pytest.param({"env": [field("spec.serviceAccountName")]}, {"X": "robot"}, id="account"),
    ],
)
async def test_variables(container: dict[str, Any], variables: dict[str, str]) -> None:
    assert await resolve_environment(container, POD, look_up) == variables


@pytest.mark.parametrize(
    ("container", "message"),
    [
        pytest.param({"envFrom": [{"secretRef": {"name": "no"}}]}, 'secret "no" not found', id="secret"),
        pytest.param({"envFrom": [{"configMapRef": {"name": "no"}}]}, 'configmap "no" not found', id="map"),
        pytest.param(
            {"env": [variable("X", "secretKeyRef", name="s3", key="NO")]},
            "couldn't find key NO in Secret team/s3",
            id="key",
        ),
        pytest.param({"env": [field("spec.hostname")]}, "unsupported fieldPath: spec.hostname", id="field"),
        pytest.param(
            {"env": [variable("X", "resourceFieldRef", resource="limits.cpu")]},
            "the devcluster doesn't know this source of a variable: resourceFieldRef",
            id="source",
        ),
    ],
)
async def test_variables_that_cannot_be_made(container: dict[str, Any], message: str) -> None:
    with pytest.raises(ContainerConfigError) as refusal:
        await resolve_environment(container, POD, look_up)
    assert str(refusal.value) == message


PATHS = {"/footplate/input": Path("/pods/1/in"), "/footplate": Path("/pods/1/all"), "/data.d": Path("/pods/1/data")}
RANK_0 = pod_address("team", "job-1-0-0")


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("/footplate/input", "/pods/1/in"),
        ("/footplate/input/train", "/pods/1/in/train"),
        ("/footplate/inputs", "/pods/1/all/inputs"),
        ("/footplates", "/footplates"),
        ("/other/footplate", "/other/footplate"),
        ("--data=/footplate/input", "--data=/pods/1/in"),
        ("/usr/lib:/footplate/input", "/usr/lib:/pods/1/in"),
        ("python '/footplate/input/a b.py' /data.d", "python '/pods/1/in/a b.py' /pods/1/data"),
        ('{"train": "/footplate/input/train"}', '{"train": "/pods/1/in/train"}'),
        ("/dataxd", "/dataxd"),
        ("file:///footplate/input", "file:///footplate/input"),
        ("s3://bucket/footplate", "s3://bucket/footplate"),
        ("job-1-0-0.gang", RANK_0),
        ("tcp://job-1-0-0.gang:2345", f"tcp://{RANK_0}:2345"),
        ("job-1-0-0.gang.team.svc.cluster.local", RANK_0),
        ("job-1-0-0.gang.team.svc,job-1-0-0.gang.team", f"{RANK_0},{RANK_0}"),
        ("job-1-0-0.gang.example.com", "job-1-0-0.gang.example.com"),
        ("job-1-0-0.gangs", "job-1-0-0.gangs"),
        ("x.job-1-0-0.gang", "x.job-1-0-0.gang"),
    ],
)
def test_rewrite(text: str, rewritten: str) -> None:
    assert Rewriter(PATHS, namespace="team", subdomain="gang")(text) == rewritten


def test_nothing_to_rewrite() -> None:
    assert Rewriter({}, namespace="team", subdomain="")("a.b /c") == "a.b /c"


def test_addresses_are_loopback_and_differ() -> None:
    addresses = {pod_address(namespace, f"p-{n}") for namespace in ("a", "b") for n in range(500)}
    assert len(addresses) == 1000
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
