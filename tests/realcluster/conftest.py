"""A real Kubernetes API with our CRDs, once a session."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from realcluster.controlplane import Cluster, ControlPlane, find_assets

CRDS = Path(__file__).parents[2] / "crds"
ESTABLISH_SECONDS = 30


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of FOOTPLATE_TEST_KUBECONFIG, else a control plane of our own."""
    if kubeconfig := os.environ.get("FOOTPLATE_TEST_KUBECONFIG"):
        yield _with_crds(Cluster(Path(kubeconfig)))
    elif find_assets() is None:
        pytest.skip(
            "needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS (default /usr/local/kubebuilder/bin) "
            "or a cluster in $FOOTPLATE_TEST_KUBECONFIG"
        )
    else:
        with ControlPlane() as plane:
            yield _with_crds(plane)


def _with_crds(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", f"--timeout={ESTABLISH_SECONDS}s", "-f", str(CRDS))
    return cluster
