"""What unit tests share."""

import pytest


@pytest.fixture(autouse=True)
def _no_cluster_of_whoever_runs_them(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A devcluster that `make demo` has left running, or a kubeconfig in the shell, is nothing to them."""
    monkeypatch.setenv("FOOTPLATE_DEV_HOME", str(tmp_path_factory.getbasetemp() / "no-devcluster"))
    monkeypatch.delenv("KUBECONFIG", raising=False)
