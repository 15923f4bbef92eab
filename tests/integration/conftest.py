"""Clusters for tests of the API: the devcluster's API server, and for conformance a real kube-apiserver too."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from api_cluster import ApiCluster
from footplate.devcluster.faults import Faults
from footplate.devcluster.server import ApiServer
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES


@pytest.fixture
def faults() -> Faults:
    """The faults of the devcluster's API server."""
    return Faults()


@pytest.fixture
async def api_server(faults: Faults, tmp_path: Path) -> AsyncIterator[ApiServer]:
    """The devcluster's API server; a pod's log is the file `<pod>.log`."""
    async with ApiServer(faults=faults, pod_log=lambda namespace, name, container: tmp_path / f"{name}.log") as server:
        yield server


@pytest.fixture
async def devcluster(api_server: ApiServer, tmp_path: Path) -> AsyncIterator[ApiCluster]:
    """The devcluster's API as its clients see it."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(api_server.kubeconfig()))
    async with ApiCluster(kubeconfig) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A real control plane, once a session."""
    if find_assets() is None:
        pytest.skip(NEEDS_BINARIES)
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(params=["devcluster", pytest.param("kube-apiserver", marks=pytest.mark.realcluster)])
async def cluster(request: pytest.FixtureRequest, devcluster: ApiCluster) -> AsyncIterator[ApiCluster]:
    """Each kind of cluster in turn: what a test asserts must hold on both."""
    if request.param == "devcluster":
        yield devcluster
        return
    async with ApiCluster(request.getfixturevalue("control_plane").kubeconfig_path) as real:
        yield real
