"""Install, upgrade, uninstall, by Helm on an empty cluster; and what the chart gives to tenants."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realcluster.chart import CHART, RELEASE, open_helm
from realcluster.controlplane import Cluster, ControlPlane, find_assets
from realcluster.site import Site
from realcluster.user import TEAM

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.skipif(find_assets() is None, reason="needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS"),
]

CRDS = {
    f"{kind}.footplate.dev"
    for kind in ("clustertrainingruntimes", "trainingjobs", "trainingpolicies", "trainingruntimes")
}
JOB = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "kept"},
    "spec": {"trainer": {"image": "registry.example.com/trainer:1", "command": ["true"]}, "nodes": 1},
}


MADE = (
    *("deployment", "serviceaccount", "service", "pdb", "ctrt"),
    *("clusterrole", "clusterrolebinding", "role", "rolebinding"),
)


@pytest.fixture
def empty() -> Iterator[ControlPlane]:
    """A cluster that has never heard of us."""
    with ControlPlane() as plane:
        yield plane


def names(cluster: Cluster, kind: str) -> set[str]:
    """What there is of ours, by name or label."""
    items: list[Any] = json.loads(cluster.kubectl("get", kind, "-A", "-o", "json").stdout)["items"]
    found = [item["metadata"] for item in items]
    return {each["name"] for each in found if "footplate" in f"{each['name']} {each.get('labels')}"}


def copy_with_older_crd(folder: Path) -> Path:
    """The chart as an older version might have been."""
    chart = Path(shutil.copytree(CHART, folder / "footplate"))
    crd = chart / "files/crds/footplate.dev_trainingjobs.yaml"
    text = crd.read_text()
    crd.write_text(text.replace("- tj\n", "- older\n"))
    assert crd.read_text() != text
    return chart


def test_install_upgrade_uninstall(empty: ControlPlane, tmp_path: Path) -> None:
    runtime = {"runtime": {"image": "trainer:1"}}
    with open_helm(empty) as helm:
        helm.install(copy_with_older_crd(tmp_path), RELEASE, runtime, create_namespace=True)
    empty.kubectl("wait", "--for=condition=Established", "crd", *CRDS)
    empty.kubectl("create", "-f", "-", stdin=JOB)
    assert names(empty, "ctrt") == set()

    with open_helm(empty) as helm:
        helm.upgrade(CHART, RELEASE, {**runtime, "replicas": 2, "metrics": {"service": True}})
    crd = json.loads(empty.kubectl("get", "crd", "trainingjobs.footplate.dev", "-o", "json").stdout)
    assert crd["spec"]["names"]["shortNames"] == ["tj"]
    assert (names(empty, "ctrt"), names(empty, "pdb")) == ({"torch"}, {RELEASE})

    with open_helm(empty) as helm:
        helm.uninstall(RELEASE)
    assert names(empty, "crd") == CRDS
    assert "kept" in empty.kubectl("get", "trainingjobs").stdout
    assert {kind: names(empty, kind) for kind in MADE} == {kind: set() for kind in MADE}

    with open_helm(empty) as helm:
        helm.install(CHART, RELEASE, runtime)
    assert names(empty, "ctrt") == {"torch"}


@pytest.mark.parametrize(
    ("role", "verb", "may"),
    [
        ("view", "get", True),
        ("view", "watch", True),
        ("view", "create", False),
        ("edit", "create", True),
        ("edit", "patch", True),
        ("edit", "deletecollection", True),
        ("admin", "delete", True),
    ],
)
def test_who_may_view_or_edit_a_namespace_may_do_so_with_its_jobs(
    site: Site, tmp_path: Path, role: str, verb: str, may: bool
) -> None:
    name = f"{role}-{verb}"
    site.kubectl("create", "serviceaccount", name)
    site.kubectl("create", "rolebinding", name, f"--clusterrole={role}", f"--serviceaccount={TEAM}:{name}")
    tenant = Cluster(site.plane.log_in(name, namespace=TEAM, folder=tmp_path))

    def can(*what: str, namespace: str = TEAM) -> bool:
        return tenant.kubectl("auth", "can-i", verb, *what, "-n", namespace, check=False).stdout == "yes\n"

    assert [can("trainingjobs"), can("trainingruntimes")] == [may, may]
    assert not can("trainingjobs", "--subresource=status")
    assert not can("trainingjobs", namespace="default")
