"""A trained model and storage that doesn't take it: whole pods, a real S3 server, and a proxy that refuses.

What can be found out before training is; what happens after it costs no model.
"""

import asyncio
import contextlib
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from footplate.contract import Progress, StorageEnv
from footplate.devcluster.s3 import S3Server
from s3_proxy import Fault, Filter, Request, S3Proxy
from trainer_pods import Done, RunningPod, free_port, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

SAVE = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_bytes(bytes(1000))"
TRAIN = f"""
import os, pathlib, time
print("trains", flush=True)
while not pathlib.Path("{{done}}").exists():
    time.sleep(0.05)
os.symlink("/nowhere", os.environ["FOOTPLATE_OUTPUT_DIR"] + "/link")
{SAVE}
"""
CHECKPOINTS_ONLY = """
import torch
from footplate_trainer import checkpoint
model = torch.nn.Linear(2, 1)
checkpoint.restore(model=model)
print("trains")
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with S3Server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture
def proxy(s3: S3Server) -> Iterator[S3Proxy]:
    with S3Proxy(s3.endpoint) as proxy:
        yield proxy


def writes(request: Request) -> bool:
    """What a role that may list and read can't do."""
    return request.method in ("PUT", "POST", "DELETE")


def reads_objects(request: Request) -> bool:
    """What a role that may only list and write can't do: looking for a model is listing, to whom it isn't there."""
    return request.method in ("GET", "HEAD") and "/proof-" in request.path


def conditional(request: Request) -> bool:
    return request.conditional


def job(code: str, uri: str, **spec: Any) -> dict[str, Any]:
    return {"trainer": {"command": [sys.executable, "-c", code]}, "output": {"uri": uri}, **spec}


def start(root: Path, spec: dict[str, Any], s3: S3Server, endpoint: str, **pod: Any) -> RunningPod:
    root.mkdir(exist_ok=True)
    own = pod.pop("env", {})
    environment = {**pod_environment(root, spec, **pod), **s3.environment, "AWS_ENDPOINT_URL": endpoint, **own}
    return RunningPod(root, environment)


@pytest.mark.parametrize(
    ("fault", "only", "code", "words"),
    [
        pytest.param(Fault.DENIED, writes, 78, "access denied (AccessDenied: Access Denied.)", id="may not write"),
        pytest.param(Fault.DENIED, reads_objects, 78, "their rights: they must allow to read", id="may not read"),
        pytest.param(Fault.NO_CONDITIONS, conditional, 78, "to write by a conditional put (If-None-Match: *)",
                     id="no conditional puts"),
        pytest.param(Fault.EXPIRED, writes, 78, "put fresh ones there", id="expired"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("claimed", [False, True], ids=["first attempt", "claimed before"])
async def test_what_would_fail_at_the_end_fails_at_the_start(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, fault: Fault, only: Filter, code: int, words: str, claimed: bool
) -> None:
    uri = f"s3://models/{tmp_path.name}/"
    if claimed:
        earlier = start(tmp_path / "before", job("raise SystemExit(3)", uri), s3, proxy.endpoint)
        assert (await asyncio.to_thread(earlier.finish)).exit_code == 3
    proxy.strike(fault, only)
    # The same attempt anew has its proof already: rights are asked for all the same.
    done = await asyncio.to_thread(start(tmp_path / "pod", job(SAVE, uri), s3, proxy.endpoint).finish)
    assert (done.exit_code, "training starts" in done.log) == (code, False), done.log
    assert done.verdict.error is not None
    assert done.verdict.error.message.startswith(f"spec.output.uri: {uri}digits/1/")
    assert words in done.verdict.error.message


async def test_a_later_attempt_whose_keys_ran_out_isnt_the_end(s3: S3Server, proxy: S3Proxy, tmp_path: Path) -> None:
    """It is tried again, until there are fresh ones: its model may be an hour from a checkpoint."""
    proxy.strike(Fault.EXPIRED)
    spec = job(SAVE, f"s3://models/{tmp_path.name}/")
    done = await asyncio.to_thread(start(tmp_path / "pod", spec, s3, proxy.endpoint, attempt=1).finish)
    assert (done.exit_code, done.verdict.outcome) == (76, "peer_lost"), done.log
    assert done.verdict.error is not None
    assert "put fresh ones there" in done.verdict.error.message
    assert "the next attempt goes on" in done.verdict.error.message


@pytest.mark.parametrize(
    ("fault", "attempt", "code", "words"),
    [
        pytest.param(
            Fault.NO_CONDITIONS, 0, 78, "to write by a conditional put (If-None-Match: *)", id="no conditions"
        ),
        pytest.param(Fault.EXPIRED, 1, 76, "the next attempt goes on", id="keys ran out"),
    ],
)
async def test_checkpoints_are_proved_before_training(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, fault: Fault, attempt: int, code: int, words: str
) -> None:
    proxy.strike(fault, conditional)
    spec = {"trainer": {"entrypoint": "train.py"}, "checkpoint": {"uri": f"s3://checkpoints/{tmp_path.name}/"}}
    files = {"train.py": CHECKPOINTS_ONLY}
    pod = start(tmp_path / "pod", spec, s3, proxy.endpoint, files=files, attempt=attempt)
    done = await asyncio.to_thread(lambda: pod.finish(seconds=240))
    assert done.exit_code == code, done.log
    assert done.verdict.error is not None
    assert "spec.checkpoint.uri: " in done.verdict.error.message
    assert words in done.verdict.error.message
    assert "[rank 0] trains" not in done.log


def notes_at(address: str) -> list[str]:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/progress", timeout=5) as answer:
        return Progress.model_validate_json(answer.read()).notes
    return []


async def train_and_strike(
    root: Path, s3: S3Server, proxy: S3Proxy, fault: Fault, words: str, only: Filter | None = None
) -> Done:
    """Storage refuses from the end of training on, until the user has heard of it."""
    address, finished = f"127.0.0.1:{free_port()}", root / "finish"
    spec = job(TRAIN.format(done=finished), f"s3://models/{root.name}/")
    pod = start(root / "pod", spec, s3, proxy.endpoint, metrics_address=address)
    await asyncio.to_thread(pod.wait_for_log, "trains")
    proxy.strike(fault, only)
    finished.touch()

    def told() -> bool | None:
        return any(words in note and "the model is trained" in note for note in notes_at(address)) or None

    await asyncio.to_thread(pod.wait_for, told)
    proxy.fault = None
    return await asyncio.to_thread(pod.finish)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(Fault.EXPIRED, "put fresh ones there", id="keys ran out"),
        pytest.param(Fault.DENIED, "their rights", id="rights were taken away"),
    ],
)
async def test_a_trained_model_outlives_what_storage_says(
    s3: S3Server, proxy: S3Proxy, tmp_path: Path, fault: Fault, words: str
) -> None:
    done = await train_and_strike(tmp_path, s3, proxy, fault, words)
    assert done.exit_code == 0, done.log
    assert done.verdict.artifact is not None
    assert (await s3.store("models").head_async(f"{tmp_path.name}/digits/1/manifest.json"))["size"] > 0
    assert any("the model is trained, and can't be stored: spec.output.uri: " in note for note in done.verdict.notes)
    assert sum("not in the model" in note for note in done.verdict.notes) == 1, "told with each try"


async def test_fresh_keys_are_taken_up_while_a_pod_runs(s3: S3Server, tmp_path: Path) -> None:
    """The pod has begun with keys that storage doesn't know any more; the Secret has others by now."""
    secret = tmp_path / "secret"
    secret.mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        (secret / name).write_text(s3.environment[name])
    env = {"AWS_SECRET_ACCESS_KEY": "old", "AWS_SESSION_TOKEN": "old", StorageEnv.SECRET_DIR: str(secret)}
    pod = start(tmp_path / "pod", job(SAVE, f"s3://models/{tmp_path.name}/"), s3, s3.endpoint, env=env)
    done = await asyncio.to_thread(pod.finish)
    assert done.exit_code == 0, done.log
    assert done.verdict.artifact is not None
