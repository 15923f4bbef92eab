"""Each kind of cluster in turn: the devcluster's API server, and a real one where its binaries are found."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from footplate.devcluster.server import ApiServer
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES
from schedulers.world import World


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    if find_assets() is None:
        pytest.skip(NEEDS_BINARIES)
    with ControlPlane() as plane:
        yield plane


@pytest.fixture(params=["devcluster", pytest.param("kube-apiserver", marks=pytest.mark.realcluster)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """A namespace of its own in each kind of cluster."""
    if request.param == "kube-apiserver":
        world = World(request.getfixturevalue("plane").kubeconfig_path)
        async with world.client:
            yield world
        return
    async with ApiServer() as server:
        kubeconfig = tmp_path / "kubeconfig"
        kubeconfig.write_text(json.dumps(server.kubeconfig()))
        world = World(kubeconfig)
        async with world.client:
            yield world
