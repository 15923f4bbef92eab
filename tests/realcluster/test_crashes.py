"""The operator is killed again and again during a job's life on a real kube-apiserver: the end is the same."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from footplate.devcluster.client import ApiClient
from footplate.devcluster.node import Nodes
from job_life import NAMESPACE, NODES, Life, Operator, lived, problems
from realcluster.controlplane import Cluster, ControlPlane

pytestmark = [pytest.mark.realcluster, pytest.mark.timeout(180)]

SEED = 1
KILLS = 10
MOST_CHANGES = 7
"""Of jobs and pods between two kills: a life has some 60."""


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[ApiClient]:
    """Only where nothing else runs pods."""
    if not isinstance(cluster, ControlPlane):
        pytest.skip("pods are only pretended, which needs a control plane without nodes of its own")
    async with ApiClient(json.loads(cluster.kubeconfig_path.read_text())) as client:
        await client.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield client


async def test_the_operator_may_die_at_any_moment(cluster: Cluster, client: ApiClient, tmp_path: Path) -> None:
    chance, life = random.Random(SEED), Life()
    operator = Operator(cluster.kubeconfig_path, namespaces=(NAMESPACE,))
    nodes = Nodes(json.loads(cluster.kubeconfig_path.read_text()), tmp_path, count=NODES, pretend=True)
    async with nodes, lived(client, nodes, operator, life) as playing:
        for _ in range(KILLS):
            for _ in range(chance.randint(1, MOST_CHANGES)):
                await asyncio.wait_for(life.changes.acquire(), 60)
            await asyncio.sleep(chance.uniform(0.0, 0.05))
            assert not playing.done()
            operator.kill()
            operator.start()
    assert problems(life) == []
