"""TrainingPolicies over the embedded cluster, with the operator's own watches of them and of namespaces."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from footplate.devcluster.client import MERGE
from footplate.devcluster.up import DevCluster
from footplate.errors import NotFound

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GROUP = "/apis/footplate.dev/v1alpha1"
JOBS = f"{GROUP}/namespaces/default/trainingjobs"
POLICIES = f"{GROUP}/trainingpolicies"
JOB = {"trainer": {"image": "registry.example.com/team/mine:1", "command": ["true"]}}
TENANTS = {"matchLabels": {"tenant": "yes"}}
ELSEWHERE = {"namespaceSelector": TENANTS, "imagePrefixes": ["registry.example.com/other/"]}
PATIENCE_SECONDS = 60.0


class Town:
    """The cluster, as its platform team and its tenants use it."""

    def __init__(self, cluster: DevCluster) -> None:
        self._ask = cluster.client.request
        self._log = cluster.operator_log

    async def create(self, kind: str, name: str, spec: Any) -> None:
        body = {"apiVersion": "footplate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        await self._ask("POST", POLICIES if kind == "TrainingPolicy" else JOBS, body)

    async def rule(self, name: str, spec: Any) -> None:
        await self._ask("PATCH", f"{POLICIES}/{name}", {"spec": spec}, kind=MERGE)

    async def repeal(self, name: str) -> None:
        await self._ask("DELETE", f"{POLICIES}/{name}")

    async def label(self, tenant: str | None) -> None:
        body = {"metadata": {"labels": {"tenant": tenant}}}
        await self._ask("PATCH", "/api/v1/namespaces/default", body, kind=MERGE)

    async def reason(self, name: str, *reasons: str) -> Any:
        """The job's status, once its reason is one of these."""
        return await self._until(lambda: self._status(name), lambda status: status.get("reason") in reasons)

    async def names(self, holds: Callable[[list[str]], object]) -> list[str]:
        """The jobs that there are, once that holds."""
        return list(await self._until(self._names, holds))

    async def _status(self, name: str) -> Any:
        return (await self._ask("GET", f"{JOBS}/{name}")).get("status") or {}

    async def _names(self) -> list[str]:
        return sorted(each["metadata"]["name"] for each in (await self._ask("GET", JOBS))["items"])

    async def _until(self, look: Callable[[], Any], holds: Callable[[Any], object]) -> Any:
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not holds(seen := await look()):
            assert asyncio.get_running_loop().time() < deadline, f"still {seen}\n{self._log.read_text()[-2000:]}"
            await asyncio.sleep(0.05)
        return seen


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    async with DevCluster(tmp_path / "cluster", storage=False) as cluster:
        yield Town(cluster)


async def test_a_policy_holds_whom_it_selects_as_long_as_it_does(town: Town) -> None:
    await town.create("TrainingPolicy", "tenants", ELSEWHERE)
    await town.create("TrainingJob", "free", JOB)
    await town.reason("free", "Completed")
    await town.label("yes")
    await town.create("TrainingJob", "held", JOB)
    status = await town.reason("held", "PolicyRefuses")
    assert status["message"] == (
        'spec.trainer.image = "registry.example.com/team/mine:1": isn\'t among the images that TrainingPolicy tenants '
        "allows namespace default; allowed are registry.example.com/other/"
    )
    await town.label(None)
    await town.reason("held", "Completed")

    await town.label("yes")
    await town.create("TrainingJob", "waits", JOB)
    await town.reason("waits", "PolicyRefuses")
    await town.rule("tenants", {**ELSEWHERE, "imagePrefixes": ["registry.example.com/"]})
    await town.reason("waits", "Completed")

    await town.rule("tenants", ELSEWHERE)
    await town.create("TrainingJob", "last", JOB)
    await town.reason("last", "PolicyRefuses")
    await town.repeal("tenants")
    await town.reason("last", "Completed")
    with pytest.raises(NotFound):
        await town.repeal("tenants")


async def test_a_namespace_keeps_as_many_finished_jobs_as_its_policy_says(town: Town) -> None:
    for number in range(4):
        await town.create("TrainingJob", f"job-{number}", JOB)
        await town.reason(f"job-{number}", "Completed")
    await town.create("TrainingPolicy", "history", {"namespaceSelector": {}, "historyLimit": 2})
    assert await town.names(lambda names: len(names) == 2) == ["job-2", "job-3"]
    await town.create("TrainingJob", "job-4", JOB)
    assert await town.names(lambda names: len(names) == 2 and "job-4" in names) == ["job-3", "job-4"]
