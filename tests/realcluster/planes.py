"""Control planes with our CRDs, and with the chart, for tests that change them or need them to themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from realcluster.chart import CHART, RELEASE, open_helm
from realcluster.controlplane import Cluster, ControlPlane, find_assets
from realcluster.site import VALUES

CRDS = Path(__file__).parents[2] / "crds"
ESTABLISH_SECONDS = 30
NEEDS_BINARIES = "needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS (default /usr/local/kubebuilder/bin)"


def with_crds(cluster: Cluster) -> Cluster:
    cluster.kubectl("apply", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", f"--timeout={ESTABLISH_SECONDS}s", "-f", str(CRDS))
    return cluster


@contextmanager
def plane_with_crds(**options: Any) -> Iterator[ControlPlane]:
    """A control plane of the caller's own; skips the test where its binaries aren't found."""
    if find_assets() is None:
        pytest.skip(NEEDS_BINARIES)
    with ControlPlane(**options) as plane:
        with_crds(plane)
        yield plane


@contextmanager
def plane_with_chart(**options: Any) -> Iterator[ControlPlane]:
    """The same with the chart, whose operator nobody runs."""
    with plane_with_crds(**options) as plane:
        with open_helm(plane) as helm:
            helm.install(CHART, RELEASE, VALUES, create_namespace=True)
        yield plane


@contextmanager
def namespace_of_its_own(cluster: Cluster, name: str) -> Iterator[None]:
    cluster.kubectl("create", "namespace", name)
    yield
    cluster.kubectl("delete", "namespace", name, "--wait=false")
