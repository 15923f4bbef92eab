"""The table of rules against a real kube-apiserver: the words that a user of kubectl sees."""

import json
from collections.abc import Iterator

import pytest

from api_cases import CHANGES, CLUSTER_SCOPED, CREATES, Case, Json
from realcluster.controlplane import Cluster
from realcluster.planes import namespace_of_its_own

pytestmark = pytest.mark.realcluster

NAMESPACE = "footplate-test-rules"


@pytest.fixture(scope="module", autouse=True)
def stored(cluster: Cluster) -> Iterator[None]:
    """A namespace of this module's own, which holds the old object of each change."""
    with namespace_of_its_own(cluster, NAMESPACE):
        items = [old_manifest(number) for number in range(len(CHANGES))]
        cluster.kubectl("create", "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
        yield


def old_manifest(number: int) -> Json:
    return located(CHANGES[number].manifest(spec=CHANGES[number].old), name=f"case-{number}")


def located(manifest: Json, **metadata: str) -> Json:
    cluster_wide = manifest["kind"] in CLUSTER_SCOPED
    namespace = {} if cluster_wide else {"namespace": NAMESPACE}
    return manifest | {"metadata": {"name": manifest["metadata"]["name"], **namespace, **metadata}}


def check(cluster: Cluster, command: str, manifest: Json, case: Case) -> None:
    done = cluster.kubectl(command, "--dry-run=server", "-f", "-", stdin=manifest, check=False)
    assert (done.returncode == 0) == (not case.problem), done.stdout + done.stderr
    expected = case.server or case.problem
    if expected:
        assert expected in done.stderr, json.dumps(manifest)
        assert case.path in done.stderr, json.dumps(manifest)


@pytest.mark.parametrize("case", CREATES, ids=lambda case: case.id)
def test_create(cluster: Cluster, case: Case) -> None:
    check(cluster, "create", located(case.manifest()), case)


@pytest.mark.parametrize("number", range(len(CHANGES)), ids=lambda number: CHANGES[number].id)
def test_change(cluster: Cluster, number: int) -> None:
    case = CHANGES[number]
    check(cluster, "replace", located(case.manifest(), name=f"case-{number}"), case)
