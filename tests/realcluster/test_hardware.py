"""Pods with claims, second networks and a required topology, as a real API server takes them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from footplate.client.rendering import render
from realcluster.controlplane import Cluster
from realcluster.planes import namespace_of_its_own
from unit.test_example_runtimes import FOLDER, RUNTIMES, job

pytestmark = pytest.mark.realcluster

NAMESPACE = "footplate-test-hardware"


@pytest.fixture(scope="module", autouse=True)
def namespace(cluster: Cluster) -> Iterator[None]:
    """A namespace of this module's own."""
    with namespace_of_its_own(cluster, NAMESPACE):
        yield


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
    own = template.get("affinity", {}).get("podAffinity", {}).keys()
    preferred = {"preferredDuringSchedulingIgnoredDuringExecution"} if "scheduling" in RUNTIMES[name]["spec"] else set()
    assert stored["spec"].get("affinity", {}).get("podAffinity", {}).keys() == own | preferred


def test_a_resource_claim_template_of_the_documentation_is_one(cluster: Cluster) -> None:
    lines = (FOLDER / "dra.yaml").read_text().splitlines()
    template = yaml.safe_load("\n".join(line.removeprefix("#   ") for line in lines if line.startswith("#   ")))
    template["metadata"]["namespace"] = NAMESPACE
    assert taken(cluster, template)["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"] == 8
