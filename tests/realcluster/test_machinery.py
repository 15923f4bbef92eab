"""The operator's client, reflector and lease against a real kube-apiserver."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from footplate.errors import AlreadyExists, Conflict, Refused
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import SystemClock
from footplate.machinery.credentials import Credentials
from footplate.machinery.lease import Lease
from footplate.machinery.metrics import Metrics
from footplate.machinery.reflector import Reflector
from footplate.machinery.resources import PODS, TRAINING_JOBS
from footplate.machinery.slim import slim_pod
from footplate.machinery.store import Store
from footplate.objects import Object
from realcluster.controlplane import Cluster

pytestmark = pytest.mark.realcluster

MANY = 1_000
SELECTOR = "footplate.dev/managed-by=footplate"


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[KubeClient]:
    credentials = Credentials(kubeconfig=str(cluster.kubeconfig_path))
    await credentials.load()
    async with KubeClient(credentials.open_session(), credentials.server, metrics=Metrics()) as client:
        yield client


def pod(name: str) -> dict[str, Any]:
    owner = {"apiVersion": TRAINING_JOBS.api, "kind": "TrainingJob", "name": "job", "uid": "1", "controller": True}
    labels = {"footplate.dev/managed-by": "footplate"}
    metadata = {"namespace": "default", "name": name, "labels": labels, "ownerReferences": [owner]}
    container = {"name": "trainer", "image": "registry.example.com/trainer:1"}
    spec = {"restartPolicy": "Never", "containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


async def until(condition: Any, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_a_thousand_pods_come_and_go_in_list_watch_and_answers(client: KubeClient) -> None:
    store = Store(on_change=lambda old, new: None, slim=slim_pod)
    options: dict[str, Any] = {"clock": SystemClock(), "metrics": Metrics(), "selector": SELECTOR}
    task = asyncio.create_task(Reflector(client, PODS, store, **options).run())
    names = [f"p{number}" for number in range(MANY)]
    await asyncio.gather(*(client.create(pod(name)) for name in names))
    await until(lambda: len(store) == MANY)

    listed = Store(on_change=lambda old, new: None, slim=slim_pod)
    second = Reflector(client, PODS, listed, **options)
    relist = asyncio.create_task(second.run())
    await second.synced.wait()
    assert listed.objects() == store.objects()

    async def delete(each: Object) -> None:
        answer = await client.delete(PODS, "default", each["metadata"]["name"], uid=each["metadata"]["uid"])
        store.observe(answer)

    await asyncio.gather(*(delete(each) for each in list(store.objects().values())))
    await until(lambda: len(store) == len(listed) == 0)
    for each in (task, relist):
        each.cancel()
    await asyncio.gather(task, relist, return_exceptions=True)


async def test_refusals_have_the_types_that_the_operator_decides_by(client: KubeClient) -> None:
    created = await client.create(pod("once"))
    with pytest.raises(AlreadyExists):
        await client.create(pod("once"))
    with pytest.raises(Conflict, match="UID in the precondition"):
        await client.delete(PODS, "default", "once", uid="another")
    with pytest.raises(Conflict):
        await client.patch(PODS, "default", "once", {"metadata": {"resourceVersion": "1", "labels": {"a": "b"}}})
    with pytest.raises(Refused, match="422 Invalid"):
        await client.create(pod("Not_A_Name"))
    await client.delete(PODS, "default", "once", uid=created["metadata"]["uid"])


async def test_a_released_lease_is_taken_at_once(client: KubeClient) -> None:
    first, second = (
        Lease(client, namespace="default", name="op", identity=identity, clock=SystemClock())
        for identity in ("first", "second")
    )
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    assert first.remaining() > 0
    assert second.remaining() <= 0
    await first.release()
    await asyncio.wait_for(waiting, 5)
    assert second.remaining() > 0 >= first.remaining()
