"""The steps of `make test-e2e` that need no image: on an empty control plane, with the devcluster's nodes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import steps
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.planes import NEEDS_BINARIES
from realcluster.site import Site

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.timeout(300),
    pytest.mark.skipif(find_assets() is None, reason=NEEDS_BINARIES),
]

IMAGE = "registry.example.com/footplate/trainer:e2e"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Site]:
    """The chart with its own CRDs."""
    with ControlPlane() as plane, Site(plane, tmp_path, values={"runtime": {"image": IMAGE}}) as site:
        yield site


def test_install_train_upgrade_uninstall(installed: Site, tmp_path: Path) -> None:
    assert steps.leftovers(installed.cluster) != []  # what isn't seen can't be missed
    steps.whole_way(installed, image=IMAGE, folder=tmp_path / "digits")
