"""Lives of jobs in a soak: what a user does to a job, and how its pods end. A job is named after its story.

Each story waits, with a deadline, for what the operator must do next: a job that is stuck is a violation.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from footplate.contract import Label
from footplate.devcluster.client import MERGE, ApiClient
from pod_player import Fate
from soak.witness import JOBS, PODS, Witness

NODES = (1, 2, 4)
FOREVER = None
QUICK = Fate(0.3)
CRASH = Fate(0.2, code=1)


class Story:
    """One job, from its creation until nothing is left of it."""

    def __init__(self, client: ApiClient, witness: Witness, name: str, *, nodes: int) -> None:
        self._client = client
        self._witness = witness
        self.name = name
        self.nodes = nodes

    async def apply(self, **run_policy: Any) -> None:
        policy = {"restartBackoffSeconds": 0, **run_policy}
        trainer = {"image": "registry.example.com/trainer:1", "command": ["python", "train.py"]}
        await self._client.request(
            "POST",
            JOBS,
            {
                "apiVersion": "footplate.dev/v1alpha1",
                "kind": "TrainingJob",
                "metadata": {"name": self.name},
                "spec": {"trainer": trainer, "nodes": self.nodes, "runPolicy": policy},
            },
        )

    async def set_policy(self, **run_policy: Any) -> None:
        await self._client.request("PATCH", f"{JOBS}/{self.name}", {"spec": {"runPolicy": run_policy}}, kind=MERGE)

    async def reach(self, phase: str, *, run: int = 1, attempt: int | None = None) -> None:
        def is_there(status: Mapping[str, Any]) -> bool:
            right_attempt = attempt is None or status.get("attempt") == attempt
            return (status.get("phase"), status.get("run")) == (phase, run) and right_attempt

        await self._witness.until(self.name, is_there, f"{phase} in run {run}, attempt {attempt}")

    async def delete_pod(self, *, attempt: int) -> None:
        await self._client.request("DELETE", f"{PODS}/{self.name}-1-{attempt}-{self.nodes - 1}")

    async def delete(self) -> None:
        await self._client.request("DELETE", f"{JOBS}/{self.name}")
        await self._witness.until_gone(self.name)


async def succeeds(job: Story) -> None:
    await job.apply()
    await job.reach("Succeeded")


async def crashes(job: Story) -> None:
    await job.apply(maxRestarts=1)
    await job.reach("Failed", attempt=1)


async def recovers(job: Story) -> None:
    await job.apply()
    await job.reach("Succeeded", attempt=1)


async def evicted(job: Story) -> None:
    await job.apply()
    await job.reach("Running", attempt=0)
    await job.delete_pod(attempt=0)
    await job.reach("Succeeded", attempt=1)


async def suspended(job: Story) -> None:
    await job.apply()
    await job.reach("Running", attempt=0)
    await job.set_policy(suspend=True)
    await job.reach("Suspended")
    await job.set_policy(suspend=False)
    await job.reach("Succeeded", attempt=1)


async def repeated(job: Story) -> None:
    await job.apply()
    await job.reach("Succeeded")
    await job.set_policy(restartNonce="again")
    await job.reach("Succeeded", run=2)


async def expires(job: Story) -> None:
    await job.apply(ttlSecondsAfterFinished=0, ttlKeepsJob=True)
    await job.reach("Succeeded")


async def deleted(job: Story) -> None:
    await job.apply()
    await asyncio.sleep(random.uniform(0.0, 1.0))


STORIES: Mapping[str, tuple[Callable[[Story], Awaitable[None]], Callable[[int], Fate | None]]] = {
    "succeeds": (succeeds, lambda _: QUICK),
    "crashes": (crashes, lambda _: CRASH),
    "recovers": (recovers, lambda attempt: QUICK if attempt else CRASH),
    "evicted": (evicted, lambda attempt: QUICK if attempt else FOREVER),
    "suspended": (suspended, lambda attempt: QUICK if attempt else FOREVER),
    "repeated": (repeated, lambda _: QUICK),
    "expires": (expires, lambda _: QUICK),
    "deleted": (deleted, lambda _: FOREVER),
}
"""What happens to a job, and how the pods of each of its attempts end."""


def fate_of(pod: Mapping[str, Any]) -> Fate | None:
    """As the story says after which its job is named. Of a gang that crashes, the first rank does."""
    labels = pod["metadata"]["labels"]
    fate = STORIES[labels[Label.JOB].partition("-")[0]][1](int(labels[Label.ATTEMPT]))
    return FOREVER if fate is CRASH and labels[Label.RANK] != "0" else fate
