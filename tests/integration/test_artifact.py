"""Models in a real S3 server: committed once, whole, and by one job; or not at all."""

import asyncio
import contextlib
import hashlib
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from footplate.api.reports import ArtifactStatus
from footplate.contract import Progress
from footplate.devcluster.s3 import S3Server
from footplate_trainer.exchange import RankReport
from footplate_trainer.model_manifest import ModelManifest
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import artifact
from footplate_trainer.supervisor.pod import read_pod
from footplate_trainer.supervisor.source import Code
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

SAVE = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_bytes(bytes({size}))"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with S3Server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def s3(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return server


def job(uri: str, *, size: int = 1000) -> dict[str, Any]:
    return {"trainer": {"command": [sys.executable, "-c", SAVE.format(size=size)]}, "output": {"uri": uri}}


async def run(root: Path, spec: dict[str, Any], env: dict[str, str] | None = None, **pod: Any) -> Done:
    running = RunningPod(root, {**pod_environment(root, spec, **pod), **(env or {})})
    return await asyncio.to_thread(running.finish)


def read_manifest(done: Done) -> ModelManifest:
    """The manifest that a verdict names, after checking that all it says is there."""
    assert done.verdict.artifact is not None, done.log
    store = Store.open(done.verdict.artifact.uri)
    data = store.get("manifest.json")
    assert hashlib.sha256(data).hexdigest() == done.verdict.artifact.sha256
    manifest = ModelManifest.model_validate_json(data)
    assert all(store.sha256(file.name) == file.sha256 for file in manifest.files)
    return manifest


async def test_data_and_model_go_through_object_storage(s3: S3Server, tmp_path: Path) -> None:
    await s3.store("datasets").put_async("whole/a.txt", b"data")
    spec = {**job("s3://models/whole/"), "inputs": [{"name": "train", "uri": "s3://datasets/whole/"}]}
    done = await run(tmp_path, spec)
    manifest = read_manifest(done)
    assert [file.name for file in manifest.files] == ["model.bin"]
    assert (manifest.inputs["train"].uri, manifest.inputs["train"].files) == ("s3://datasets/whole/", 1)
    assert done.verdict.artifact is not None
    assert done.verdict.artifact.uri == "s3://models/whole/digits/1/"


@pytest.mark.parametrize(
    ("uri", "env", "code", "words"),
    [
        ("s3://nobucket/x/", {}, 65, "spec.output.uri: s3://nobucket/x/digits/1: no such bucket; create it"),
        ("s3://models/x/", {"AWS_SECRET_ACCESS_KEY": "wrong"}, 78, "access denied (SignatureDoesNotMatch"),
    ],
    ids=["bucket", "credentials"],
)
async def test_a_place_that_cannot_be_used_is_said_before_training(
    s3: S3Server, tmp_path: Path, uri: str, env: dict[str, str], code: int, words: str
) -> None:
    done = await run(tmp_path, job(uri), env)
    assert done.exit_code == code, done.log
    assert done.verdict.error is not None
    assert words in done.verdict.error.message
    assert "training starts" not in done.log


async def test_another_jobs_model_is_refused_and_left_alone(s3: S3Server, tmp_path: Path) -> None:
    first = await run(tmp_path / "a", job("s3://models/same/"), uid="uid-1")
    second = await run(tmp_path / "b", job("s3://models/same/"), uid="uid-2")
    assert second.exit_code == 78
    assert second.verdict.error is not None
    assert "another TrainingJob of this name" in second.verdict.error.message
    assert read_manifest(first).uid == "uid-1"


async def test_a_pod_killed_while_it_uploads_leaves_no_half_model(s3: S3Server, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    spec = job("s3://models/killed/", size=128 << 20)
    (tmp_path / "a").mkdir()
    pod = RunningPod(tmp_path / "a", pod_environment(tmp_path / "a", spec, metrics_address=address))
    await asyncio.to_thread(pod.wait_for, lambda: True if activity(address) == "exporting" else None)
    pod.process.kill()
    pod.process.wait()
    assert "manifest.json" not in [item.key for item in Store.open("s3://models/killed/digits/1").list()]
    done = await run(tmp_path / "b", spec, attempt=1)
    assert read_manifest(done).attempt == 1


def activity(address: str) -> str | None:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/progress", timeout=5) as answer:
        return Progress.model_validate_json(answer.read()).activity
    return None


async def test_of_attempts_that_publish_at_once_one_commits_and_all_succeed(s3: S3Server, tmp_path: Path) -> None:
    def publish(attempt: int) -> ArtifactStatus:
        root = tmp_path / str(attempt)
        pod = read_pod({**os.environ, **pod_environment(root, job("s3://models/race/"), attempt=attempt)})
        pod.make_folders()
        (pod.output_dir / "model.bin").write_bytes(b"weights")
        return artifact.publish(pod, report=RankReport(), code=Code(root, None), inputs={})

    with ThreadPoolExecutor(4) as pool:
        statuses = await asyncio.to_thread(lambda: list(pool.map(publish, range(4))))
    assert len({status.sha256 for status in statuses}) == 1


async def test_of_two_namespaces_with_one_output_one_trains(s3: S3Server, tmp_path: Path) -> None:
    """Both begin at once; the loser is told whose the place is before it trains."""
    spec = job("s3://models/two/")
    pods = {"a": {"namespace": "team-a", "uid": "uid-a"}, "b": {"namespace": "team-b", "uid": "uid-b"}}
    for name in pods:
        (tmp_path / name).mkdir()
    won, lost = sorted(
        await asyncio.gather(*(run(tmp_path / name, spec, **place) for name, place in pods.items())),
        key=lambda done: done.exit_code,
    )
    assert (won.exit_code, lost.exit_code) == (0, 78), won.log + lost.log
    manifest = read_manifest(won)
    assert lost.verdict.error is not None
    place, said = "spec.output.uri: s3://models/two/digits/1", lost.verdict.error.message
    claimed = f"{place} is claimed by run 1 of TrainingJob {manifest.namespace}/digits (uid {manifest.uid})"
    committed = f"{place} holds the model of another TrainingJob of this name (uid {manifest.uid})"
    assert said.startswith((claimed, committed)), said
    assert "training starts" not in lost.log
