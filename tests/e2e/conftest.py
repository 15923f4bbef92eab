"""A cluster with nodes, once a session; on it the chart, once a file of tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import KUBECONFIG, nodes_for_pods, tools, two_nodes
from e2e.kind import kind_cluster, what_is_missing
from e2e.site import ClusterSite
from e2e.storage import Storage
from realcluster.controlplane import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of FOOTPLATE_E2E_KUBECONFIG, whose nodes have both images; else one of kind."""
    if kubeconfig := os.environ.get(KUBECONFIG):
        yield Cluster(Path(kubeconfig))
    elif missing := what_is_missing():
        pytest.skip(
            f"needs a cluster in ${KUBECONFIG}, with both images on its nodes; or, for one of its own, {missing}"
        )
    else:
        with kind_cluster(tmp_path_factory.mktemp("kind")) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def nodes(cluster: Cluster) -> Iterator[tuple[str, str]]:
    """Two nodes, which jobs may be told to keep to. What the suite runs for itself is on the first."""
    names = nodes_for_pods(cluster)
    if len(names) < 2:
        pytest.skip(f"needs two nodes that take pods; there are {len(names)}")
    with two_nodes(cluster, names) as nodes:
        yield nodes


@pytest.fixture(scope="session")
def storage(cluster: Cluster, nodes: tuple[str, str]) -> Iterator[Storage]:
    """An S3 server that pods reach, and we."""
    with tools(cluster), Storage(cluster, nodes[0]) as storage:
        yield storage


@pytest.fixture(scope="module")
def site(cluster: Cluster, storage: Storage) -> Iterator[ClusterSite]:
    """The chart and a team."""
    with ClusterSite(cluster, storage) as site:
        yield site


@pytest.fixture
def team(site: ClusterSite) -> Iterator[ClusterSite]:
    """The site; afterwards the test's jobs are gone, with all that was made for them."""
    yield site
    site.kubectl("delete", "trainingjobs", "--all", "--timeout=60s")
    made = ("get", "pods,configmaps", "-l", "footplate.dev/managed-by=footplate", "-o", "name")
    site.until(lambda: site.kubectl(*made).stdout, lambda left: not left, seconds=180)
