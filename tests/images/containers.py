"""Containers of a built image as a kubelet starts them: no capabilities, no new privileges, a read-only root, a limit.

runc gets what a node's container runtime would give it, but that the network is the host's: both ends of a test are on
loopback. Its cgroups are of whichever version the host has.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 90.0


@dataclass(frozen=True)
class Image:
    """A built image whose root file system is mounted."""

    root: Path
    config: Mapping[str, Any]

    @property
    def user(self) -> int:
        """The UID that it runs as."""
        return int(self.config["User"].partition(":")[0])

    def size(self) -> int:
        """Bytes of its files."""
        folders = os.walk(self.root)
        return sum((Path(folder) / name).lstat().st_size for folder, _, names in folders for name in names)


@contextlib.contextmanager
def mounted(name: str) -> Iterator[Image]:
    """An image of buildah's, by its name."""
    container = output("buildah", "from", "--pull-never", name)
    try:
        about = json.loads(output("buildah", "inspect", "--type", "image", name))
        yield Image(Path(output("buildah", "mount", container)), about["OCIv1"]["config"])
    finally:
        output("buildah", "rm", container)


class Container:
    """`with Container(image, folder, *arguments) as container`: it runs until its end, or that of the block.

    `volumes` are folders and files of the host that it may write to, at the path that they have here; each is handed
    to its user. Without `tmp` nothing else can be written to.
    """

    def __init__(
        self,
        image: Image,
        folder: Path,
        *arguments: str,
        entrypoint: Sequence[str] | None = None,
        user: int | None = None,
        env: Mapping[str, str] | None = None,
        volumes: Sequence[Path] = (),
        tmp: bool = True,
        memory: int | None = None,
    ) -> None:
        self._folder = folder
        self._name = f"footplate-test-{secrets.token_hex(6)}"
        self._user = image.user if user is None else user
        self._volumes = volumes
        command = [*(image.config.get("Entrypoint") or () if entrypoint is None else entrypoint), *arguments]
        self._process = {
            "cwd": image.config.get("WorkingDir") or "/",
            "args": command,
            "env": [*image.config["Env"], *(f"{name}={value}" for name, value in (env or {}).items())],
            "user": {"uid": self._user, "gid": self._user},
            "capabilities": {},
            "rlimits": [],
            "noNewPrivileges": True,
            "terminal": False,
        }
        self._mounts = [_TMP] * tmp + [_bind(path) for path in (Path("/etc/hosts"), *volumes)]
        self._root = {"path": str(image.root), "readonly": True}
        self._resources = {"memory": {"limit": memory, "swap": memory}} if memory else {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        for path in self._volumes:
            _hand_over(path, self._user)
        self._write_spec()
        with self.log_path.open("wb") as log:
            command = ["runc", "run", "--bundle", str(self._folder), self._name]
            self._runc = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.signal(signal.SIGKILL)
        self._runc.wait()

    @property
    def log_path(self) -> Path:
        """What it writes, standard output and error."""
        return self._folder / "log.txt"

    @property
    def log(self) -> str:
        """All of that so far."""
        return self.log_path.read_text(errors="replace")

    @property
    def running(self) -> bool:
        """Whether its first process lives."""
        return self._runc.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """To its first process, as a kubelet sends it."""
        subprocess.run(["runc", "kill", self._name, str(int(number))], capture_output=True)

    def finish(self, *, seconds: float = PATIENCE_SECONDS) -> int:
        """Its exit code."""
        try:
            return self._runc.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it didn't end within {seconds} s; its log:\n{self.log}") from None

    def wait_for(self, what: Callable[[], T | None], *, seconds: float = PATIENCE_SECONDS) -> T:
        """Waits until `what` returns something, and returns it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.running:
            if found := what():
                return found
            time.sleep(0.05)
        raise AssertionError(f"not seen within {seconds} s, or the container ended; its log:\n{self.log}")

    def wait_for_log(self, text: str) -> None:
        """Waits until it has written a text."""
        self.wait_for(lambda: text in self.log)

    def _write_spec(self) -> None:
        """runc's own default, less its network, with our process, mounts and limits."""
        (self._folder / "config.json").unlink(missing_ok=True)
        subprocess.run(["runc", "spec"], cwd=self._folder, check=True)
        spec = json.loads((self._folder / "config.json").read_text())
        linux = spec["linux"]
        linux["namespaces"] = [each for each in linux["namespaces"] if each["type"] != "network"]
        linux["resources"].update(self._resources)
        linux["cgroupsPath"] = f"/footplate-test/{self._name}"
        spec |= {
            "hostname": "localhost",
            "process": self._process,
            "root": self._root,
            "mounts": [*spec["mounts"], *self._mounts],
        }
        (self._folder / "config.json").write_text(json.dumps(spec))


_TMP = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "nodev", "mode=1777"]}


def _bind(path: Path) -> dict[str, Any]:
    return {"destination": str(path), "type": "bind", "source": str(path), "options": ["rbind", "rw"]}


def _hand_over(path: Path, user: int) -> None:
    for each in (path, *path.rglob("*")):
        os.chown(each, user, user)


def output(*command: str) -> str:
    """What a program writes; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout.strip()
