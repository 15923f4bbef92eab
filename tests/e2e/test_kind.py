"""The whole way on kind: images, chart, kubelets, network. `make test-e2e`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import steps
from e2e.kind import TAG, TRAINER, KindSite, what_is_missing

MISSING = what_is_missing()

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(MISSING), reason=MISSING),
]

IMAGE = f"{TRAINER}:{TAG}"


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[KindSite]:
    """A cluster with the chart."""
    with KindSite(tmp_path) as site:
        yield site


def test_install_train_upgrade_uninstall(installed: KindSite, tmp_path: Path) -> None:
    steps.whole_way(installed, image=IMAGE, folder=tmp_path / "digits")
