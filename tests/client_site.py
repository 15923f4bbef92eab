"""The devcluster's API server in a thread, for tests of the synchronous client."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crds import install_crds
from footplate.client.loop import EventLoop
from footplate.devcluster.client import MERGE, ApiClient
from footplate.devcluster.faults import Faults
from footplate.devcluster.server import ApiServer

JOBS = "/apis/footplate.dev/v1alpha1/namespaces/{}/trainingjobs"


class Site:
    """An API server with our CRDs, and whatever a test puts into it."""

    def __init__(self, folder: Path) -> None:
        self.faults = Faults()
        self.folder = folder
        self.kubeconfig = str(folder / "kubeconfig")
        self.loop = EventLoop()
        self.server = ApiServer(faults=self.faults, pod_log=lambda namespace, name, container: folder / f"{name}.log")

    def request(self, method: str, path: str, body: object = None, **options: Any) -> dict[str, Any]:
        """One request, as the operator or a kubelet would send it."""
        return self.loop.run(self._api.request(method, path, body, **options))

    def create(self, name: str, *, namespace: str = "default", labels: Any = None, **spec: Any) -> dict[str, Any]:
        """A TrainingJob."""
        metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
        trainer = {"image": "trainer", "command": ["true"]}
        job = {"apiVersion": "footplate.dev/v1alpha1", "kind": "TrainingJob", "metadata": metadata}
        return self.request("POST", JOBS.format(namespace), {**job, "spec": {"trainer": trainer, **spec}})

    def say(self, name: str, *, namespace: str = "default", **status: Any) -> dict[str, Any]:
        """Writes a status, for the job's present generation unless it says another."""
        path = f"{JOBS.format(namespace)}/{name}"
        generation = self.request("GET", path)["metadata"]["generation"]
        body = {"status": {"observedGeneration": generation, **status}}
        return self.request("PATCH", f"{path}/status", body, kind=MERGE)

    def job(self, name: str, *, namespace: str = "default") -> dict[str, Any]:
        """A TrainingJob as it is."""
        return self.request("GET", f"{JOBS.format(namespace)}/{name}")

    def delete(self, name: str, *, namespace: str = "default") -> None:
        """Deletes a TrainingJob."""
        self.request("DELETE", f"{JOBS.format(namespace)}/{name}")

    def clear(self) -> None:
        """Takes back all faults, and deletes what tests create."""
        self.faults.clear()
        for everywhere in (
            "/apis/footplate.dev/v1alpha1/trainingjobs",
            "/api/v1/pods",
            "/api/v1/events",
            "/api/v1/secrets",
        ):
            for item in self.request("GET", everywhere)["items"]:
                metadata, (collection, _, plural) = item["metadata"], everywhere.rpartition("/")
                path = f"{collection}/namespaces/{metadata['namespace']}/{plural}/{metadata['name']}"
                self.request("DELETE", path, gracePeriodSeconds=0)

    async def start(self) -> None:
        """Serves."""
        await self.server.__aenter__()
        self._api = await ApiClient(self.server.kubeconfig()).__aenter__()
        await install_crds(self._api)

    async def stop(self) -> None:
        """Ends it."""
        await self._api.__aexit__()
        await self.server.__aexit__(None, None, None)


@contextmanager
def site_in(folder: Path) -> Iterator[Site]:
    """A site that serves until the block ends."""
    site = Site(folder)
    try:
        site.loop.run(site.start())
        Path(site.kubeconfig).write_text(json.dumps(site.server.kubeconfig()))
        yield site
    finally:
        site.loop.close(site.stop)


def condition(name: str, *, status: str = "True") -> dict[str, Any]:
    """A condition of a job."""
    return {"type": name, "status": status, "reason": name, "lastTransitionTime": "2026-01-01T00:00:00Z"}
