"""With a key, real pods answer operator and user, and nobody else; and the key may be exchanged while they run."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from footplate.client import Client
from footplate.contract import METRICS_PORT, TOKEN_HEADER, TokenEnv
from footplate.devcluster.client import MERGE
from footplate.devcluster.up import OPERATOR, DevCluster
from footplate.tokens import token_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
PODS = "/api/v1/namespaces/default/pods"
PROGRAM = f"""
import os, time
print("knows the token:", {str(TokenEnv.TOKEN)!r} in os.environ, flush=True)
step = 0
while True:
    step += 1
    print(f"step={{step}} loss=0.5", flush=True)
    time.sleep(0.2)
"""
JOB = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "job"},
    "spec": {
        "trainer": {
            "image": "trainer",
            "command": [sys.executable, "-c", PROGRAM],
            "metricDefinitions": [{"name": "step", "regex": r"step=(\d+)"}],
        },
        "runPolicy": {"terminationGracePeriodSeconds": 2},
    },
}
POLLED = re.compile(r'footplate_progress_polls_total\{result="(\w+)"\} ([0-9.]+)')


class Town:
    """A devcluster whose operator has a key."""

    def __init__(self, cluster: DevCluster) -> None:
        self.cluster = cluster

    async def status(self) -> dict[str, Any]:
        return (await self.cluster.client.request("GET", f"{JOBS}/job")).get("status") or {}

    async def pod(self) -> dict[str, Any]:
        return await self.cluster.client.request("GET", f"{PODS}/job-1-0-0")

    async def until(self, condition: Any) -> None:
        deadline = asyncio.get_running_loop().time() + 50
        while not await condition():
            assert asyncio.get_running_loop().time() < deadline, await self.status()
            await asyncio.sleep(0.05)

    async def step(self) -> int:
        """As the operator has written it down."""
        return int(((await self.status()).get("progress") or {}).get("step") or 0)

    async def polls(self) -> dict[str, float]:
        """Looks of this operator at progress, by what came of them."""
        lines = self.cluster.operator_log.read_text().splitlines()
        [*_, port] = [found[1] for line in lines if (found := re.search(r'port"?[=:]\s*(\d+)', line))]
        _, text = await get(f"http://127.0.0.1:{port}/metrics")
        return {result: float(count) for result, count in POLLED.findall(text)}


async def get(url: str, *, token: str | None = None) -> tuple[int, str]:
    headers = {} if token is None else {TOKEN_HEADER: token}
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as response:
        return response.status, await response.text()


async def test_the_pods_of_a_run_answer_who_knows_its_token(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0" * 64)
    operator = [*OPERATOR, f"--token-key-file={key}", "--poll-interval=0.2"]
    async with DevCluster(tmp_path / "cluster", nodes=1, storage=False, operator=operator) as cluster:
        town = Town(cluster)
        await cluster.client.request("POST", JOBS, JOB)
        await town.until(town.step)
        pod = await town.pod()
        token, page = token_of(pod), f"http://{pod['status']['podIP']}:{METRICS_PORT}"
        assert len(token) == 64
        for path in ("/progress", "/metrics"):
            assert (await get(page + path))[0] == 401
            assert (await get(page + path, token="0" * 64))[0] == 401
            assert (await get(page + path, token=token))[0] == 200
        assert await get(f"{page}/healthz") == (200, "ok\n")

        def live() -> int | None:
            with Client(kubeconfig=str(cluster.kubeconfig_path)) as client:
                job = client.get("job")
                assert "knows the token: False" in "\n".join(line.text for line in job.logs())
                said = job.live()
                return said.step if said else None

        assert (await asyncio.to_thread(live) or 0) > 0

        # Another operator, with another key: the pods are the same, and are asked as before.
        assert cluster.operator is not None
        await cluster.operator.stop(grace=10)
        key.write_text("1" * 64)
        await cluster.start_operator()

        async def polled() -> bool:
            try:
                return (await town.polls()).get("ok", 0) > 3
            except aiohttp.ClientConnectionError:  # it isn't there yet
                return False

        await town.until(polled)
        assert (await town.polls())["invalid"] == 0
        assert (await town.pod())["metadata"]["uid"] == pod["metadata"]["uid"]

        # What is made from now on has a token of the new key.
        for suspended in (True, False):
            patch = {"spec": {"runPolicy": {"suspend": suspended}}}
            await cluster.client.request("PATCH", f"{JOBS}/job", patch, kind=MERGE)
            wanted = "Suspended" if suspended else "Running"
            await town.until(lambda wanted=wanted: _in_phase(town, wanted))
        again = await cluster.client.request("GET", f"{PODS}/job-1-1-0")
        assert len(token_of(again)) == 64
        assert token_of(again) != token


async def _in_phase(town: Town, phase: str) -> bool:
    return (await town.status()).get("phase") == phase
