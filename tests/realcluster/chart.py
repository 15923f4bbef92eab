"""The Helm chart, by Helm's own SDK: rendered, and installed on a cluster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from realcluster.controlplane import Cluster

CHART = Path(__file__).parents[2] / "helm/footplate"
RELEASE = "footplate"
NAMESPACE = "footplate-system"


def load_helm() -> Any:
    """Helm's own library; skips the test where it has no wheel for the platform."""
    return pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this platform")


def render(values: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The objects of the chart with these values; helm's error says what is wrong with them."""
    with load_helm().Chart.load(CHART) as chart:
        files = chart.render(dict(values or {}), name=RELEASE, namespace=NAMESPACE)
    texts = (text for name, text in files.items() if not name.endswith(".txt"))
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


@contextmanager
def open_helm(cluster: Cluster) -> Iterator[Any]:
    """Helm for a cluster, with all rights: `install`, `upgrade`, `uninstall`."""
    with load_helm().Config(kubeconfig_path=cluster.kubeconfig_path, namespace=NAMESPACE) as config:
        yield config
