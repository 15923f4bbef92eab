"""The chart on a cluster with nodes: the built images, the real kubelets."""

import contextlib
import time
from typing import Any

from obstore.store import S3Store

from e2e.cluster import OPERATOR_IMAGE, START_SECONDS, TRAINER_IMAGE
from e2e.storage import Storage
from realcluster.chart import CHART, NAMESPACE, RELEASE, open_helm
from realcluster.controlplane import Cluster
from realcluster.user import TEAM, User


class ClusterSite(User):
    """`with ClusterSite(cluster, storage) as site`: installed, the operator at work, a team with its Secret."""

    def __init__(self, cluster: Cluster, storage: Storage, **values: Any) -> None:
        super().__init__(cluster)
        self._storage = storage
        repository, _, tag = OPERATOR_IMAGE.rpartition(":")
        image = {"repository": repository, "tag": tag}
        self._values = {"image": image, "runtime": {"image": TRAINER_IMAGE}, **values}
        self._stack = contextlib.ExitStack()
        self._installed = False

    def __enter__(self) -> "ClusterSite":
        with contextlib.ExitStack() as stack:
            stack.callback(self._delete_namespace, NAMESPACE)
            stack.callback(self.uninstall)
            begin = time.monotonic()
            self._installed = True  # an install that fails leaves what it has made, some of it in no namespace
            with open_helm(self.cluster) as helm:
                helm.install(CHART, RELEASE, self._values, create_namespace=True)
            self._wait_for_operator()
            print(f"\nhelm install → ready, and one leads: {time.monotonic() - begin:.1f} s")
            stack.callback(self._delete_namespace, TEAM)
            self.create_team(self._storage.environment)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def reconfigure(self, **values: Any) -> None:
        self.start_upgrade(**values)
        self._wait_for_operator()

    def start_upgrade(self, **values: Any) -> None:
        """helm upgrade, without waiting for what it rolls out."""
        self._values |= values
        with open_helm(self.cluster) as helm:
            helm.upgrade(CHART, RELEASE, self._values)

    def uninstall(self) -> None:
        if not self._installed:
            return
        with open_helm(self.cluster) as helm:
            helm.uninstall(RELEASE)
        self._installed = False
        gone = ("wait", "pods", "--all", "--for=delete", "-n", NAMESPACE, f"--timeout={START_SECONDS}s")
        self.cluster.kubectl(*gone, check=False)  # fails where they are gone already

    def metrics_of_operator(self) -> str:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods"
        texts = (
            self.cluster.kubectl("get", "--raw", f"{path}/{name}:8080/proxy/metrics").stdout
            for name in self.operators()
        )
        return next(text for text in texts if "\nfootplate_leader 1.0" in text)

    def operators(self) -> list[str]:
        """Names of the operator's pods."""
        pods = self.cluster.kubectl("get", "pods", "-n", NAMESPACE, "-o", "name").stdout.split()
        return [pod.partition("/")[2] for pod in pods]

    def store(self, bucket: str) -> S3Store:
        return self._storage.store(bucket)

    def tail(self) -> str:
        return self.cluster.kubectl("logs", "-n", NAMESPACE, f"deployment/{RELEASE}", "--tail=40", check=False).stdout

    def _wait_for_operator(self) -> None:
        """Until all its replicas are ready, and one of them leads."""
        rollout = ("rollout", "status", f"deployment/{RELEASE}", "-n", NAMESPACE, f"--timeout={START_SECONDS}s")
        done = self.cluster.kubectl(*rollout, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{self.tail()}"
        holder = ("get", "lease", "footplate-operator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}")
        self.until(lambda: self.cluster.kubectl(*holder, check=False).stdout, lambda name: name)

    def _delete_namespace(self, name: str) -> None:
        self.cluster.kubectl("delete", "namespace", name, "--ignore-not-found", f"--timeout={START_SECONDS}s")
