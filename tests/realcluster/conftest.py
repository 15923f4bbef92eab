"""Real Kubernetes APIs with our CRDs, once a session: one for requests alone, and one with the operator at work."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from realcluster.controlplane import Cluster, ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES, plane_with_crds, with_crds
from realcluster.site import Site


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster of FOOTPLATE_TEST_KUBECONFIG, else a control plane of our own."""
    if kubeconfig := os.environ.get("FOOTPLATE_TEST_KUBECONFIG"):
        yield with_crds(Cluster(Path(kubeconfig)))
    elif find_assets() is None:
        pytest.skip(f"{NEEDS_BINARIES} or a cluster in $FOOTPLATE_TEST_KUBECONFIG")
    else:
        with plane_with_crds() as plane:
            yield plane


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane of our own, in which nothing runs pods but what a test brings along."""
    with plane_with_crds() as plane:
        yield plane


@pytest.fixture(scope="session")
def site(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The control plane with chart, operator, nodes and S3."""
    with Site(plane, tmp_path_factory.mktemp("site")) as site:
        yield site
