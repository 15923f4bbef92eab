"""Storage behind a private authority: `storage.caBundle`, whole pods, and a real S3 server over TLS."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from certificates import Authority
from footplate.contract import StorageEnv
from footplate.devcluster.s3 import S3Server
from laptop import Laptop
from tls_proxy import TlsProxy
from trainer_pods import Done, RunningPod, pod_environment

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

SAVE = "import os, pathlib; pathlib.Path(os.environ['FOOTPLATE_OUTPUT_DIR'], 'model.bin').write_bytes(bytes(1000))"
CHECKPOINT = """
import torch
from footplate_trainer import checkpoint, context
ctx = context()
model = torch.nn.Linear(2, 1)
state = checkpoint.restore(model=model)
state.step = 1
checkpoint.save(state)
(ctx.output_dir / "model.bin").write_bytes(b"weights")
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def s3(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[S3Server]:
    async with S3Server(tmp_path_factory.mktemp("s3")) as started:
        yield started


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca") / "private")


@pytest.fixture
def tls(s3: S3Server, authority: Authority) -> Iterator[TlsProxy]:
    with TlsProxy(s3.endpoint, authority.issue()) as proxy:
        yield proxy


def job(endpoint: str, uri: str, **spec: Any) -> dict[str, Any]:
    storage = {"endpoint": endpoint, "caBundle": {"configMapKeyRef": {"name": "company-ca", "key": "ca.crt"}}}
    return {
        "trainer": {"command": [sys.executable, "-c", SAVE]},
        "output": {"uri": uri},
        "storage": storage,
        **spec,
    }


async def run(root: Path, spec: dict[str, Any], s3: S3Server, trusted: Path | None, **pod: Any) -> Done:
    root.mkdir(exist_ok=True)  # noqa: ASYNC240 (a test may wait)
    environment = {**s3.environment, "AWS_ENDPOINT_URL": spec["storage"]["endpoint"]}
    if "caBundle" in spec["storage"]:
        environment[StorageEnv.CA_BUNDLE] = str(trusted or root / "ca/ca.pem")
    own = pod.pop("env", {})
    running = RunningPod(root, {**pod_environment(root, spec, **pod), **environment, **own})
    return await asyncio.to_thread(running.finish)


async def test_model_and_data_go_over_tls(s3: S3Server, tls: TlsProxy, authority: Authority, tmp_path: Path) -> None:
    await s3.store("datasets").put_async("tls/a.txt", b"data")
    inputs = [{"name": "train", "uri": "s3://datasets/tls/"}]
    done = await run(tmp_path, job(tls.endpoint, "s3://models/tls/", inputs=inputs), s3, authority.certificate)
    assert done.exit_code == 0, done.log
    assert done.verdict.artifact is not None
    assert (await s3.store("models").head_async("tls/digits/1/manifest.json"))["size"] > 0
    assert (tmp_path / "scratch/input/train/a.txt").read_text() == "data"


async def test_ranks_save_checkpoints_over_tls(
    s3: S3Server, tls: TlsProxy, authority: Authority, tmp_path: Path
) -> None:
    spec = job(
        tls.endpoint,
        "s3://models/tls-ranks/",
        trainer={"entrypoint": "train.py"},
        checkpoint={"uri": "s3://checkpoints/tls/"},
    )
    done = await run(tmp_path, spec, s3, authority.certificate, files={"train.py": CHECKPOINT})
    assert done.exit_code == 0, done.log
    assert done.verdict.checkpoint is not None
    assert done.verdict.checkpoint.step == 1


async def test_public_authorities_stay_trusted(
    s3: S3Server, tls: TlsProxy, authority: Authority, tmp_path: Path
) -> None:
    """The system's stand in another file, here of one that signs where an input comes from."""
    public = Authority(tmp_path / "public")
    await s3.store("datasets").put_async("public/a.txt", b"data")
    with TlsProxy(s3.endpoint, public.issue()) as elsewhere:
        own = {**s3.environment, "AWS_ENDPOINT_URL": elsewhere.endpoint}
        env = {f"FOOTPLATE_INPUT_TRAIN_{name}": value for name, value in own.items()}
        env["SSL_CERT_FILE"] = str(public.certificate)
        inputs = [{"name": "train", "uri": "s3://datasets/public/", "secretRef": {"name": "public"}}]
        spec = job(tls.endpoint, "s3://models/public/", inputs=inputs)
        done = await run(tmp_path / "pod", spec, s3, authority.certificate, env=env)
    assert done.exit_code == 0, done.log


@pytest.mark.slow
async def test_an_authority_that_nobody_named(s3: S3Server, tls: TlsProxy, tmp_path: Path) -> None:
    spec = job(tls.endpoint, "s3://models/none/")
    del spec["storage"]["caBundle"]
    began = time.monotonic()
    done = await run(tmp_path, spec, s3, None)
    assert time.monotonic() - began < 120
    assert done.exit_code == 78, done.log
    assert done.verdict.error is not None
    assert done.verdict.error.message.startswith(
        "spec.output.uri: s3://models/none/digits/1: nobody answers at https://"
    )
    assert "its certificate isn't trusted: UnknownIssuer" in done.verdict.error.message
    assert "name the certificate of its authority in storage.caBundle" in done.verdict.error.message
    assert any("storage.caBundle" in note for note in done.verdict.notes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "key 'ca.crt' of ConfigMap 'company-ca' isn't in the job's namespace"),
        (b"no certificate", "but holds none"),
    ],
    ids=["missing", "no PEM"],
)
async def test_what_cant_be_used_is_said_at_once(
    s3: S3Server, tls: TlsProxy, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "given.pem"
    if content is not None:
        path.write_bytes(content)
    done = await run(tmp_path / "pod", job(tls.endpoint, "s3://models/bad/"), s3, path)
    assert done.exit_code == 78, done.log
    assert done.verdict.error is not None
    assert done.verdict.error.message.startswith("storage.caBundle: ")
    assert words in done.verdict.error.message


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_job_by_kubectl(authority: Authority, tmp_path: Path) -> None:
    """The whole way: a ConfigMap's key, mounted by the operator; and one that nobody has created."""
    trusted, missing = await asyncio.to_thread(run_by_kubectl, authority, tmp_path)
    assert (trusted["phase"], trusted["artifact"]["uri"]) == ("Succeeded", "s3://models/by-kubectl/trusted/1/")
    assert missing["phase"] == "Failed"
    assert "storage.caBundle: key 'ca.crt' of ConfigMap 'no-such-ca' isn't in the" in missing["failure"]["message"]


def run_by_kubectl(authority: Authority, home: Path) -> list[dict[str, Any]]:
    with Laptop(home) as laptop, TlsProxy(laptop.storage["AWS_ENDPOINT_URL"], authority.issue()) as proxy:
        names = {"trusted": "company-ca", "missing": "no-such-ca"}
        laptop.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "company-ca", "namespace": "default"},
                "data": {"ca.crt": authority.certificate.read_text(), "other": "x"},
            },
            *(
                {
                    "apiVersion": "footplate.dev/v1alpha1",
                    "kind": "TrainingJob",
                    "metadata": {"name": name, "namespace": "default"},
                    "spec": {
                        "trainer": {"image": "trainer:test", "command": ["python", "-c", SAVE]},
                        "output": {"uri": "s3://models/by-kubectl/"},
                        "storage": {
                            "secretRef": {"name": "s3"},
                            "endpoint": proxy.endpoint,
                            "caBundle": {"configMapKeyRef": {"name": reference, "key": "ca.crt"}},
                        },
                    },
                }
                for name, reference in names.items()
            ),
        )
        return [laptop.wait(name) for name in names]
