"""The way of a release: the chart installed, digits, an upgrade, and what an uninstall leaves."""

from pathlib import Path

import pytest

from e2e import steps
from e2e.cluster import TRAINER_IMAGE
from e2e.site import ClusterSite

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_install_train_upgrade_uninstall(site: ClusterSite, tmp_path: Path) -> None:
    assert steps.leftovers(site.cluster) != []  # what isn't seen can't be missed
    steps.whole_way(site, image=TRAINER_IMAGE, folder=tmp_path / "digits")
