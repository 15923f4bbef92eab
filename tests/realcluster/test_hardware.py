"""Pods with claims, second networks and a required topology, as a real API server takes them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from footplate.client.rendering import render
from realcluster.controlplane import Cluster
from unit.test_example_runtimes import RUNTIMES, job

pytestmark = pytest.mark.realcluster

NAMESPACE = "footplate-test-hardware"


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Cluster) -> Iterator[None]:
    """A namespace of this module's own."""
    cluster.kubectl("create", "namespace", NAMESPACE)
    yield
    cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def taken(cluster: Cluster, manifest: Any) -> Any:
    """The object as the API server would store it."""
    done = cluster.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=manifest)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", RUNTIMES)
def test_the_example_and_its_pods_are_taken_as_they_are(cluster: Cluster, name: str) -> None:
    taken(cluster, RUNTIMES[name])
    *_, pod = render(job(name), RUNTIMES[name])
    metadata = {key: value for key, value in pod["metadata"].items() if key != "ownerReferences"}
    stored = taken(cluster, {**pod, "metadata": {**metadata, "namespace": NAMESPACE}})
    template = RUNTIMES[name]["spec"]["podTemplate"]
    assert stored["spec"].get("resourceClaims", []) == template.get("resourceClaims", [])
    assert stored["spec"]["containers"][0]["resources"].get("claims", []) == [
        {"name": claim["name"]} for claim in template.get("resourceClaims", [])
    ]
    assert stored["metadata"].get("annotations", {}) == template.get("annotations", {})
    assert stored["spec"].get("affinity", {}).get("podAffinity", {}).keys() == (
        template.get("affinity", {}).get("podAffinity", {}).keys()
        or ({"preferredDuringSchedulingIgnoredDuringExecution"} if RUNTIMES[name]["spec"].get("scheduling") else set())
    )


def test_a_resource_claim_template_of_the_documentation_is_one(cluster: Cluster) -> None:
    from pathlib import Path

    text = (Path(__file__).parents[2] / "examples/runtimes/dra.yaml").read_text()
    lines = [line.removeprefix("#   ") for line in text.splitlines() if line.startswith("#   ")]
    import yaml

    template = yaml.safe_load("\n".join(lines))
    template["metadata"]["namespace"] = NAMESPACE
    assert taken(cluster, template)["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"] == 8
