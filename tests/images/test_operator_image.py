"""The operator's image at work: a real container against the devcluster's API, whose pods only pretend to run."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from footplate.devcluster.up import DevCluster
from images.containers import Container, Image
from trainer_pods import free_port

pytestmark = [pytest.mark.images, pytest.mark.timeout(1800)]

JOBS = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
PATIENCE_SECONDS = 180
STOP_SECONDS = 10
RANDOM_UID = 1_000_710_000
"""As OpenShift gives them: no passwd entry, no group."""

JOB = {
    "apiVersion": "footplate.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "job"},
    "spec": {"trainer": {"image": "registry.example.com/trainer:1", "command": ["true"]}, "nodes": 2},
}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[DevCluster]:
    """A cluster without an operator, but with a folder that it may read."""
    async with DevCluster(tmp_path / "cluster", pretend=True, storage=False, operator=None) as cluster:
        yield cluster


@pytest.mark.parametrize(
    ("user", "entrypoint"),
    [
        pytest.param(None, None, id="its own user"),
        pytest.param(RANDOM_UID, None, id="a random UID"),
        pytest.param(RANDOM_UID, ["env", "-u", "HOME", "-u", "USER", "footplate", "operator"], id="nobody at all"),
    ],
)
async def test_turns_a_job_into_pods_and_ends_on_sigterm(
    operator_image: Image, cluster: DevCluster, tmp_path: Path, user: int | None, entrypoint: Sequence[str] | None
) -> None:
    port = free_port()
    options = [f"--kubeconfig={cluster.kubeconfig_path}", f"--port={port}", "--lease-namespace=default"]
    volumes = [cluster.kubeconfig_path]
    with Container(
        operator_image, tmp_path / "operator", *options, user=user, entrypoint=entrypoint, volumes=volumes, tmp=False
    ) as container:
        await until(container, lambda: is_ready(port))
        await cluster.client.request("POST", JOBS, JOB)
        await until(container, lambda: is_running(cluster))
        pods = await cluster.client.request("GET", "/api/v1/namespaces/default/pods")
        container.signal(signal.SIGTERM)
        began = time.monotonic()
        code = await asyncio.to_thread(container.finish, seconds=PATIENCE_SECONDS)
    assert (code, len(pods["items"])) == (0, 2), container.log
    assert time.monotonic() - began < STOP_SECONDS, container.log
    assert '"level": "error"' not in container.log
    assert "kopf_starts_anew" not in container.log


async def until(container: Container, holds: Any) -> None:
    """While the container runs, and not for ever."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not await holds():
        assert container.running, container.log
        assert time.monotonic() < deadline, container.log
        await asyncio.sleep(0.1)


async def is_ready(port: int) -> bool:
    with suppress(aiohttp.ClientConnectionError):
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/readyz") as response,
        ):
            return response.status == 200
    return False


async def is_running(cluster: DevCluster) -> bool:
    job = await cluster.client.request("GET", f"{JOBS}/job")
    return bool(job.get("status", {}).get("phase") == "Running")


@pytest.mark.parametrize(
    ("arguments", "env", "code", "words"),
    [
        (["--help"], {}, 0, "turns TrainingJobs into gangs of trainer pods"),
        (
            [],
            {},
            1,
            "there is no file ~/.kube/config; run inside a cluster with a service account",
        ),
        (["--kubeconfig=/etc/kubeconfig"], {}, 1, "there is no file /etc/kubeconfig"),
        ([], {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, 1, "no usable way to a Kubernetes API server"),
        (["--port=high"], {}, 2, "Invalid value for '--port'"),
    ],
)
def test_says_what_is_wrong(
    operator_image: Image, tmp_path: Path, arguments: Sequence[str], env: dict[str, str], code: int, words: str
) -> None:
    with Container(operator_image, tmp_path / "operator", *arguments, env={"COLUMNS": "200", **env}) as container:
        assert container.finish() == code, container.log
    assert words in container.log
    assert "Traceback" not in container.log


def test_holds_what_it_needs_and_no_more(
    operator_image: Image, base_size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = operator_image.size() - base_size
    with capsys.disabled():
        print(f"\noperator image: {size / 1e6:.0f} MB over its base of {base_size / 1e6:.0f} MB")
    assert size < 150e6
    probe = "pip --version || python -c 'import pip' || python -c 'import setuptools' || python -c 'import torch'"
    with Container(operator_image, tmp_path / "probe", probe, entrypoint=["sh", "-c"]) as container:
        assert container.finish() != 0, container.log
