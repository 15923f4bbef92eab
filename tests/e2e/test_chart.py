"""The chart by Helm's own programs on real nodes: how long an install takes, and what `helm test` says in a pod."""

import json
import time
from collections.abc import Iterator

import pytest

from e2e.cluster import OPERATOR_IMAGE, START_SECONDS
from realcluster.chart import CHART, NAMESPACE, RELEASE, run_helm
from realcluster.controlplane import Cluster

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
READY = "The operator is ready; CRDs and rights are there."
RESTRICTED = ("pod-security.kubernetes.io/enforce=restricted", "pod-security.kubernetes.io/enforce-version=latest")


@pytest.fixture(scope="module")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The chart by Helm 4, in a namespace where Pod Security is restricted."""
    repository, _, tag = OPERATOR_IMAGE.rpartition(":")
    image = f"image.repository={repository},image.tag={tag}"
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("label", "namespace", NAMESPACE, *RESTRICTED)
    try:
        begin = time.monotonic()
        wait = ("--wait", "--timeout", f"{START_SECONDS}s")
        run_helm(4, "install", RELEASE, str(CHART), "--set", image, *wait, cluster=cluster)
        print(f"\nhelm install --wait, two replicas, all ready: {time.monotonic() - begin:.1f} s")
        yield cluster
    finally:
        run_helm(4, "uninstall", RELEASE, cluster=cluster, check=False)
        cluster.kubectl("delete", "namespace", NAMESPACE, f"--timeout={START_SECONDS}s")


@pytest.mark.parametrize("version", [3, 4])
def test_helm_test_is_content(installed: Cluster, version: int) -> None:
    done = run_helm(version, "test", RELEASE, "--logs", cluster=installed)
    assert READY in done.stdout, done.stdout


def test_helm_test_names_what_is_missing(installed: Cluster) -> None:
    role = json.loads(installed.kubectl("get", "clusterrole", f"{RELEASE}-cluster", "-o", "json").stdout)
    rules = [each for each in role["rules"] if "nodes" not in each["resources"]]
    installed.kubectl("replace", "-f", "-", stdin={**role, "rules": rules})
    try:
        assert run_helm(4, "test", RELEASE, cluster=installed, check=False).returncode != 0
        log = installed.kubectl("logs", f"{RELEASE}-test", "-n", NAMESPACE).stdout
        assert "the operator has no right to" in log
        assert "'resource': 'nodes'" in log
    finally:
        installed.kubectl("replace", "--force", "-f", "-", stdin=role)


def test_a_second_release_leaves_to_the_first_what_is_the_clusters(installed: Cluster) -> None:
    install = ("install", f"{RELEASE}-two", str(CHART), "--dry-run=server", "--set", "namespaces={default}")
    whole = run_helm(4, *install, cluster=installed, check=False)
    assert "invalid ownership metadata" in whole.stderr
    assert run_helm(4, *install, "--take-ownership", cluster=installed)
    assert run_helm(4, *install, "--set", "crds.install=false", "--set", "admissionPolicy=false", cluster=installed)
