"""The operator's /metrics behind the API server's own judgement, with the rights that the chart grants for that."""

import json
from pathlib import Path

import pytest

from footplate.machinery.client import KubeClient
from footplate.machinery.clock import SystemClock
from footplate.machinery.credentials import Credentials
from footplate.machinery.metrics import Metrics
from footplate.machinery.scrape_auth import ScrapeAuth
from realcluster.chart import render
from realcluster.controlplane import Cluster

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(120)]


def token_of(cluster: Cluster, account: str) -> str:
    return cluster.kubectl("create", "token", account, "-n", "scrape").stdout.strip()


async def test_who_may_get_metrics_and_who_may_not(cluster: Cluster, tmp_path: Path) -> None:
    [role] = [
        each
        for each in render({"metrics": {"auth": True}, "crds": {"install": False}})
        if each["kind"] == "ClusterRole" and each["metadata"]["name"].endswith("metrics-auth")
    ]
    reads = {"nonResourceURLs": ["/metrics"], "verbs": ["get"]}
    cluster.kubectl("create", "namespace", "scrape")
    rules = {"operator": role["rules"], "prometheus": [reads], "stranger": []}
    for name, granted in rules.items():
        cluster.kubectl("create", "serviceaccount", name, "-n", "scrape")
        metadata = {"name": f"scrape-{name}"}
        made = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata}
        cluster.kubectl("create", "-f", "-", stdin={**made, "rules": granted})
        account = f"--serviceaccount=scrape:{name}"
        cluster.kubectl("create", "clusterrolebinding", f"scrape-{name}", f"--clusterrole=scrape-{name}", account)
    config = json.loads(cluster.kubectl("config", "view", "--raw", "-o", "json").stdout)
    config["users"] = [
        {"name": user["name"], "user": {"token": token_of(cluster, "operator")}} for user in config["users"]
    ]
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(config))
    credentials = Credentials(kubeconfig=str(kubeconfig), context=None)
    await credentials.load()
    async with credentials.open_session() as session:
        client = KubeClient(session, credentials.server, metrics=Metrics())
        auth = ScrapeAuth(client, clock=SystemClock())
        good = token_of(cluster, "prometheus")
        assert await auth.judge(f"Bearer {good}") == 200
        assert await auth.judge(f"Bearer {token_of(cluster, 'stranger')}") == 403
        assert await auth.judge(f"Bearer {good[:-4]}AAAA") == 401
        assert await auth.judge("Bearer nonsense") == 401
        cluster.kubectl("delete", "clusterrolebinding", "scrape-operator")
        for _ in range(50):  # until the API server's own view of its rules is new
            judged = await ScrapeAuth(client, clock=SystemClock()).judge(f"Bearer {good}")
            if judged != 200:
                break
    assert judged == 503, "an operator that may not ask lets nobody in"
