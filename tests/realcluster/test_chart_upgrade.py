"""From the first chart to this one and back, by Helm 3 and by Helm 4, while jobs run: they don't notice.

There is no operator of the first chart any more. Today's stands in for it, which that chart gives neither the CRDs nor
the rights that it needs: jobs begin under this chart, and under the first one it must leave all as it is, and say why.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realcluster.chart import CHART, RELEASE, run_helm
from realcluster.controlplane import ControlPlane, find_assets
from realcluster.jobs import job
from realcluster.site import Site

pytestmark = [
    pytest.mark.realcluster,
    pytest.mark.timeout(400),
    pytest.mark.skipif(find_assets() is None, reason="needs etcd and kube-apiserver in $KUBEBUILDER_ASSETS"),
]

FIRST = Path(__file__).parent / "charts/footplate-0.1.0.tgz"
"""The chart as it was before it had two replicas, NetworkPolicies and a closed schema."""

RUNTIME = ("--set", "runtime.image=registry.example.com/footplate/trainer:0.1.0")
UPGRADE = ("upgrade", RELEASE, str(CHART))
TO_THE_FIRST = ("rollback", RELEASE, "1")
FACTS = ("phase", "run", "attempt", "startTime", "completionTime", "restarts", "attempts", "history", "conditions")


class HelmSite(Site):
    """A site whose chart Helm's own program installs, CRDs and all."""

    def __init__(self, plane: ControlPlane, folder: Path, *, helm: int) -> None:
        super().__init__(plane, folder, values={})
        self._helm = helm

    def install(self) -> None:
        run_helm(self._helm, "install", RELEASE, str(FIRST), "--create-namespace", *RUNTIME, cluster=self.plane)
        self.plane.kubectl("wait", "--for=condition=Established", "crd", "--all")

    def change(self, *arguments: str) -> None:
        """helm upgrade or rollback, and the operator that the new Deployment asks for."""
        self.stop_operator()
        run_helm(self._helm, *arguments, cluster=self.plane)
        self.start_operator()


@pytest.fixture(params=[3, 4], ids=["helm-3", "helm-4"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HelmSite]:
    """The first chart, by this Helm, on a cluster that has never heard of us."""
    with ControlPlane() as plane, HelmSite(plane, tmp_path, helm=request.param) as site:
        yield site


def pods(site: Site) -> dict[str, str]:
    """UID of each pod of the team."""
    items = json.loads(site.kubectl("get", "pods", "-o", "json").stdout)["items"]
    return {each["metadata"]["name"]: each["metadata"]["uid"] for each in items}


def facts(site: Site, name: str) -> dict[str, Any]:
    """What its status tells, but for what grows by itself."""
    status = site.get("tj", name)["status"]
    return {key: status.get(key) for key in FACTS}


def wait_for_a_look(site: Site) -> None:
    """Until the operator that has just started has led a job to its end."""
    site.apply(job("probe", "true"))
    site.wait("probe", "condition=Complete")
    site.kubectl("delete", "tj", "probe")
    site.until(lambda: site.names("pods", "probe"), lambda left: not left)


def test_running_jobs_notice_neither_upgrade_nor_rollback(site: HelmSite) -> None:
    site.change(*UPGRADE, "--reuse-values")
    site.apply(job("done", "true"), job("going", "sleep", "600"))
    site.wait("done", "condition=Complete")
    site.wait("going", "jsonpath={.status.phase}=Running")
    before = pods(site), facts(site, "done"), facts(site, "going")

    site.change(*TO_THE_FIRST)
    site.until(site.tail, lambda tail: "is older than this operator" in tail)
    assert pods(site) == before[0]

    for change in ((*UPGRADE, "--reuse-values"), ("rollback", RELEASE, "2"), (*UPGRADE, "--reset-then-reuse-values")):
        site.change(*change)
        wait_for_a_look(site)
        assert (pods(site), facts(site, "done"), facts(site, "going")) == before, change
        assert "torch" in site.plane.kubectl("get", "ctrt", "-o", "name").stdout, change


def test_replicas_become_two_where_nobody_has_said_one(site: HelmSite) -> None:
    site.change(*UPGRADE, "--reset-then-reuse-values")
    assert site.get("deployment", RELEASE, namespace="footplate-system")["spec"]["replicas"] == 2
    assert site.get("pdb", RELEASE, namespace="footplate-system")["spec"]["maxUnavailable"] == 1


def test_a_lease_may_be_given_up_and_taken_again(site: HelmSite) -> None:
    """Recreate instead of RollingUpdate: what the API server has put there by itself must go."""
    with_lease, without = ("replicas=2", "RollingUpdate"), ("replicas=1,leaderElection=false", "Recreate")
    for values, strategy in (with_lease, without, with_lease):
        site.change(*UPGRADE, "--set", values)
        deployment = site.get("deployment", RELEASE, namespace="footplate-system")
        assert deployment["spec"]["strategy"]["type"] == strategy
