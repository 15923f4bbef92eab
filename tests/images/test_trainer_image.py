"""The trainer's image at work: real containers, that find their data in a real S3 server and meet a real limit."""

import asyncio
import contextlib
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

import obstore
import pytest
import yaml

from footplate.contract import ExitCode, Progress, parse_verdict
from footplate.devcluster.s3 import S3Server
from images.containers import Container, Image
from trainer_pods import free_port, pod_environment

pytestmark = [pytest.mark.images, pytest.mark.timeout(1800)]

DIGITS = Path(__file__).parents[2] / "examples/digits"
FILES = [f"{split}-{part}.gz" for split in ("train", "test") for part in ("images-idx3-ubyte", "labels-idx1-ubyte")]
RANDOM_UID = 1_000_710_000
LEAST_ACCURACY = 0.95
MEBIBYTE = 2**20

AT_HOME = """
import getpass, pathlib, tempfile
print("user", getpass.getuser())
for folder in (".cache/huggingface", ".triton", ".config/any"):
    path = pathlib.Path.home() / folder
    path.mkdir(parents=True)
    (path / "file").write_text("text")
import matplotlib.pyplot as plt
plt.plot([1, 2])
plt.savefig("/tmp/plot.png")
import torch
compiled = torch.compile(lambda x: torch.sin(x) + x * 2)
x = torch.arange(1000.0)
assert torch.allclose(compiled(x), torch.sin(x) + x * 2)
print("compiled")
"""

GREEDY = """
kept = []
while True:
    kept.append(b"x" * 2**24)
"""


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """A folder with the data of examples/digits."""
    subprocess.run([sys.executable, DIGITS / "make_data.py", tmp_path / "data"], check=True, capture_output=True)
    return tmp_path / "data"


@pytest.fixture
async def s3(digits: Path, tmp_path: Path) -> AsyncIterator[S3Server]:
    """An S3 server that has them."""
    async with S3Server(tmp_path / "s3") as server:
        for name in FILES:
            await obstore.put_async(server.store("datasets"), f"digits/{name}", digits / name)
        yield server


@contextlib.contextmanager
def gang(
    image: Image, folder: Path, s3: S3Server, *, attempt: int, epochs: int, user: int | None = None
) -> Iterator[tuple[list[Container], str]]:
    """The two pods of examples/digits as containers, and the address of the first one's progress."""
    spec: dict[str, Any] = yaml.safe_load((DIGITS / "job.yaml").read_text())["spec"]
    spec["trainer"]["hyperparameters"]["epochs"] = epochs
    address = f"127.0.0.1:{free_port()}"
    shared = {**s3.environment, "MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        pods = []
        for rank, metrics in enumerate((address, "")):
            root = folder / f"{attempt}-{rank}"
            environment = pod_environment(
                root, spec, nodes=2, node_rank=rank, attempt=attempt, metrics_address=metrics, grace_seconds=60
            )
            pods.append(stack.enter_context(pod(image, root, {**environment, **shared}, user=user)))
        yield pods, address


def pod(image: Image, root: Path, environment: Mapping[str, str], **options: Any) -> Container:
    """A trainer's container, with the folders of a pod."""
    (root / "termination-log").touch()
    return Container(image, root.with_name(f"{root.name}-bundle"), env=environment, volumes=[root], **options)


def read_step(address: str) -> int:
    """The step that a gang has come to; 0 before it answers."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{address}/progress", timeout=5) as answer:
        return Progress.model_validate_json(answer.read()).progress.step or 0
    return 0


async def test_digits_on_two_containers_that_are_stopped_and_go_on(
    trainer_image: Image, s3: S3Server, tmp_path: Path
) -> None:
    """The second attempt runs under a random UID."""
    with gang(trainer_image, tmp_path, s3, attempt=0, epochs=60) as (pods, address):
        await asyncio.to_thread(pods[0].wait_for, lambda: read_step(address) > 20)
        for each in pods:
            each.signal(signal.SIGTERM)
        codes = [await asyncio.to_thread(each.finish) for each in pods]
    assert codes == [ExitCode.STOPPED] * 2, [each.log for each in pods]
    saved = [each["path"] for page in obstore.list(s3.store("checkpoints"), "digits/") for each in page]
    assert saved, pods[0].log

    with gang(trainer_image, tmp_path, s3, attempt=1, epochs=60, user=RANDOM_UID) as (pods, _):
        codes = [await asyncio.to_thread(each.finish, seconds=300) for each in pods]
    assert codes == [ExitCode.OK] * 2, [each.log for each in pods]
    verdict = parse_verdict((tmp_path / "1-0/termination-log").read_text())
    assert verdict is not None
    assert verdict.artifact is not None, verdict
    assert verdict.artifact.metrics["testAccuracy"] >= LEAST_ACCURACY, verdict
    assert verdict.resumed_from_step, verdict


def test_the_kernel_ends_who_takes_too_much_memory(trainer_image: Image, tmp_path: Path) -> None:
    root = tmp_path / "pod"
    environment = pod_environment(root, {"trainer": {"entrypoint": "train.py"}}, files={"train.py": GREEDY})
    with pod(trainer_image, root, environment, memory=512 * MEBIBYTE) as container:
        assert container.finish() == 128 + signal.SIGKILL, container.log
    verdict = parse_verdict((root / "termination-log").read_text())
    assert verdict is not None
    assert verdict.error is not None, verdict
    assert "most likely out of memory" in verdict.error.message


@pytest.mark.parametrize("user", [None, RANDOM_UID], ids=["its own user", "a random UID"])
def test_is_a_home_for_its_user(trainer_image: Image, tmp_path: Path, user: int | None) -> None:
    """Name, home, caches and a compiler, on a read-only root."""
    command = ["python", "-W", "error::UserWarning", "-c", AT_HOME]
    with Container(trainer_image, tmp_path / "bundle", entrypoint=command, user=user) as container:
        assert container.finish(seconds=900) == 0, container.log
    assert container.log.startswith("user footplate\n")
    assert container.log.endswith("compiled\n")


def test_says_that_it_was_not_configured(trainer_image: Image, tmp_path: Path) -> None:
    with Container(trainer_image, tmp_path / "bundle") as container:
        assert container.finish() == ExitCode.CONFIG_ERROR, container.log
    assert "Traceback" not in container.log


def test_holds_what_it_needs_and_no_more(
    trainer_image: Image, base_size: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with capsys.disabled():
        size = (trainer_image.size() - base_size) / 1e9
        print(f"\ntrainer image: {size:.2f} GB over its base of {base_size / 1e9:.2f} GB")
    probe = "! python -m pip --version || python -c 'import kopf'"
    with Container(trainer_image, tmp_path / "probe", probe, entrypoint=["sh", "-c"]) as container:
        assert container.finish() != 0, container.log
