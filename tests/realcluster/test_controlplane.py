"""The control plane that other tests lean on: its rights are enforced, and what it started is gone at the end."""

from pathlib import Path

import pytest

from realcluster.controlplane import Cluster, ControlPlane, find_assets

pytestmark = pytest.mark.realcluster


def test_service_account_may_do_what_its_rules_say(cluster: Cluster, tmp_path: Path) -> None:
    rules = [{"apiGroups": ["footplate.dev"], "resources": ["trainingjobs"], "verbs": ["list"]}]
    limited = Cluster(cluster.service_account("footplate-test-limited", folder=tmp_path, rules=rules))
    assert limited.kubectl("get", "trainingjobs", "-A").returncode == 0
    refused = limited.kubectl("get", "secrets", "-A", check=False)
    assert "Forbidden" in refused.stderr
    assert "system:serviceaccount:default:footplate-test-limited" in refused.stderr


@pytest.mark.skipif(find_assets() is None, reason="needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS")
def test_nothing_is_left_behind() -> None:
    with ControlPlane() as plane:
        pids = [child.pid for child in plane.children]
        assert "Kubernetes" in plane.kubectl("cluster-info").stdout
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert not plane.folder.exists()
