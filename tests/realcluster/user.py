"""What users and a platform team do with a cluster in which Footplate is installed, wherever that runs."""

import json
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import obstore
from obstore.store import S3Store

from realcluster.controlplane import KUBECTL_SECONDS, Cluster

TEAM = "team"
"""The namespace of the tests' jobs; the Secret `s3` in it leads to the S3 server."""

Object = dict[str, Any]
T = TypeVar("T")


class User(ABC):
    """kubectl in the team's namespace, and the S3 server that the team's jobs use."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    @abstractmethod
    def reconfigure(self, **values: Any) -> None:
        """helm upgrade to other values; the new operator is at work afterwards."""

    @abstractmethod
    def uninstall(self) -> None:
        """helm uninstall."""

    @abstractmethod
    def metrics_of_operator(self) -> str:
        """Its /metrics."""

    @abstractmethod
    def store(self, bucket: str) -> S3Store:
        """A bucket as it is reached from here."""

    @abstractmethod
    def tail(self) -> str:
        """The end of the operator's log."""

    def create_team(self, storage: Mapping[str, str]) -> None:
        """The team's namespace, with the Secret of the variables with which pods find the S3 server."""
        self.cluster.kubectl("create", "namespace", TEAM)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s3"}}
        self.apply({**secret, "stringData": dict(storage)})

    def kubectl(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """kubectl in the team's namespace; a namespace among the arguments takes precedence."""
        return self.cluster.kubectl("--namespace", TEAM, *arguments, **options)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """kubectl apply."""
        for each in objects:
            self.kubectl("apply", "-f", "-", stdin=each)

    def get(self, kind: str, name: str, *, namespace: str = TEAM) -> Object:
        """One object."""
        return dict(json.loads(self.cluster.kubectl("get", kind, name, "-n", namespace, "-o", "json").stdout))

    def names(self, kind: str, job: str) -> list[str]:
        """Names of what the operator made for a job."""
        found = self.kubectl("get", kind, "-l", f"footplate.dev/job={job}", "-o", "name").stdout
        return [name.partition("/")[2] for name in found.split()]

    def wait(self, job: str, condition: str, *, seconds: int = 200) -> Object:
        """The job's status once a condition holds; the error tells what is known if it never does."""
        flags = (f"--for={condition}", f"--timeout={seconds}s")
        done = self.kubectl("wait", f"tj/{job}", *flags, check=False, seconds=seconds + KUBECTL_SECONDS)
        status = self.get("tj", job).get("status") or {}
        assert done.returncode == 0, f"{done.stderr}\n{json.dumps(status, indent=1)}\n{self.tail()}"
        return dict(status)

    def until(self, look: Callable[[], T], holds: Callable[[T], object], *, seconds: float = 60) -> T:
        """What `look` sees once it holds; the error shows what it saw last."""
        deadline = time.monotonic() + seconds
        while not holds(seen := look()):
            assert time.monotonic() < deadline, f"after {seconds} s still {seen}\n{self.tail()}"
            time.sleep(0.1)
        return seen

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        """Puts a folder's files below a prefix."""
        for path in folder.iterdir():
            obstore.put(self.store(bucket), f"{prefix}{path.name}", path)

    def objects(self, bucket: str, prefix: str) -> list[str]:
        """Names of what is there below a prefix."""
        return [each["path"] for page in obstore.list(self.store(bucket), prefix) for each in page]

    def read(self, uri: str) -> bytes:
        """One object's bytes."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return bytes(obstore.get(self.store(bucket), key).bytes())
