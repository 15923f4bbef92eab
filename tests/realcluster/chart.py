"""The Helm chart: rendered by Helm's own SDK, and installed on a cluster by that or by Helm's programs."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from realcluster.controlplane import Cluster

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm/footplate"
RELEASE = "footplate"
NAMESPACE = "footplate-system"
HELM_PROGRAMS = ROOT / ".venvs/helm"
"""`.ci/fetch-helm` puts them there."""


def load_helm() -> Any:
    """Helm's own library; skips the test where it has no wheel for the platform."""
    return pytest.importorskip("helm_python", reason="helm-python-sdk has no wheel for this platform")


def render(
    values: Mapping[str, Any] | None = None, *, chart: Path = CHART, name: str = RELEASE
) -> list[dict[str, Any]]:
    """The objects of the chart with these values; helm's error says what is wrong with them."""
    texts = render_texts(values, chart=chart, name=name)
    objects = (yaml.load_all(text, Loader=yaml.CSafeLoader) for path, text in texts.items() if path.endswith(".yaml"))
    return [each for some in objects for each in some if each]


def render_texts(
    values: Mapping[str, Any] | None = None, *, chart: Path = CHART, name: str = RELEASE
) -> dict[str, str]:
    """The rendered templates by their paths, NOTES among them."""
    with load_helm().Chart.load(chart) as loaded:
        return dict(loaded.render(dict(values or {}), name=name, namespace=NAMESPACE))


def is_hook(item: Mapping[str, Any]) -> bool:
    """Whether Helm makes it at another time than the rest."""
    return "helm.sh/hook" in (item["metadata"].get("annotations") or {})


@contextmanager
def open_helm(cluster: Cluster) -> Iterator[Any]:
    """Helm for a cluster, with all rights: `install`, `upgrade`, `uninstall`."""
    with load_helm().Config(kubeconfig_path=cluster.kubeconfig_path, namespace=NAMESPACE) as config:
        yield config


def find_helm(version: int) -> Path:
    """The program of Helm 3 or 4; skips the test where nobody has fetched it, which in CI is a failure."""
    program = HELM_PROGRAMS / f"helm-{version}"
    if not program.is_file():
        missing = f"there is no {program}: .ci/fetch-helm .venvs/helm"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return program


def run_helm(
    version: int, *arguments: str, cluster: Cluster | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Runs Helm's program in the release's namespace.

    Raises:
        AssertionError: it failed, with its own words.
    """
    where = () if cluster is None else ("--kubeconfig", str(cluster.kubeconfig_path))
    command = [str(find_helm(version)), *arguments, "--namespace", NAMESPACE, *where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 or not check, f"{' '.join(command)}\n{done.stderr}"
    return done
