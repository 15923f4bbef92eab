"""One container as a local process: from its spec to a command line, and from its end to a termination message."""

import asyncio
import base64
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from footplate.contract import PRETENDED_ACCELERATORS
from footplate.devcluster.client import ApiClient
from footplate.devcluster.environment import LookUp, Rewriter, expand, resolve_environment
from footplate.devcluster.images import Images
from footplate.devcluster.process import Child, Keeper
from footplate.devcluster.scheduling import container_requests
from footplate.devcluster.values import parse_quantity
from footplate.devcluster.volumes import mount_paths
from footplate.errors import NotFound

ENTRYPOINT = ["python", "-m", "footplate_trainer"]
"""What a container without a command starts: the trainer image's own entry point."""
MEMORY_POLL_SECONDS = 0.5
_MAX_MESSAGE_BYTES = 4096
_LOG_TAIL_BYTES = 2048
Object = Mapping[str, Any]


def log_path(folder: Path, namespace: str, name: str, container: str) -> Path:
    """Where a container's output goes, below the folder of the nodes."""
    return folder / "logs" / namespace / name / f"{container}.log"


@dataclass
class Host:
    """What the pods of a host share; the faults may be changed at any time."""

    client: ApiClient
    keeper: Keeper
    folder: Path
    pull_seconds: float = 0.0
    missing_images: tuple[str, ...] = ("missing", "nonexistent")
    """Images whose name contains one of these can't be pulled."""
    images: Images = field(default_factory=Images)
    _cut_off: dict[str, asyncio.Event] = field(default_factory=dict)
    """Nodes whose kubelet doesn't reach the API, each with what is set when it does again."""

    def cut_off(self, node: str) -> None:
        """From now on nothing that a node reports reaches the API."""
        self._cut_off.setdefault(node, asyncio.Event())

    def reconnect(self, node: str) -> None:
        """What the node had to report goes out now."""
        if node in self._cut_off:
            self._cut_off.pop(node).set()

    def is_cut_off(self, node: str) -> bool:
        """True between `cut_off` and `reconnect`."""
        return node in self._cut_off

    async def connected(self, node: str) -> None:
        """Returns when the node reaches the API."""
        while link := self._cut_off.get(node):
            await link.wait()

    def look_up(self, namespace: str) -> LookUp:
        """Reads the Secrets and ConfigMaps of a namespace."""

        async def read(resource: str, name: str) -> Mapping[str, bytes] | None:
            try:
                found = await self.client.request("GET", f"/api/v1/namespaces/{namespace}/{resource}/{name}")
            except NotFound:
                return None
            encoded = found.get("data" if resource == "secrets" else "binaryData") or {}
            plain = (found.get("data") or {}) if resource == "configmaps" else {}
            data = {key: base64.b64decode(value) for key, value in encoded.items()}
            return data | {key: value.encode() for key, value in plain.items()}

        return read


@dataclass(frozen=True)
class Launch:
    """All that is needed to start a container and to read its last words."""

    argv: list[str]
    env: dict[str, str]
    cwd: Path
    log: Path
    message_file: Path
    memory_limit: float | None
    """Bytes."""


async def prepare_launch(
    container: Object, pod: Object, host: Host, *, volumes: Mapping[str, Path], folder: Path, scratch: str
) -> Launch:
    """Resolves, expands and rewrites what the container is started with; `folder` is the pod's own.

    Raises ContainerConfigError.
    """
    metadata = pod["metadata"]
    name, namespace = container["name"], metadata["namespace"]
    message_file = folder / f"{name}.termination"
    paths = mount_paths(container, volumes)
    paths[container.get("terminationMessagePath") or "/dev/termination-log"] = message_file
    rewrite = Rewriter(paths, namespace=namespace, subdomain=pod["spec"].get("subdomain") or "")
    variables = await resolve_environment(container, pod, host.look_up(namespace))
    command = [*(container.get("command") or ENTRYPOINT), *(container.get("args") or ())]
    own, directory = folder / "work", container.get("workingDir") or "."
    own.mkdir(parents=True, exist_ok=True)
    limit = parse_quantity(((container.get("resources") or {}).get("limits") or {}).get("memory"))
    asked = {key: rewrite(value) for key, value in variables.items()}
    return Launch(
        argv=[rewrite(expand(part, variables)) for part in command],
        env=_image_environment(container, pod, home=own, scratch=scratch)
        | asked
        | {"PATH": host.images.search_path(container["image"], asked.get("PATH"))},
        cwd=own / rewrite(directory) if rewrite(directory) != directory else own / directory.lstrip("/"),
        log=log_path(host.folder, namespace, metadata["name"], name),
        message_file=message_file,
        memory_limit=float(limit) if limit is not None else None,
    )


async def start(launch: Launch, host: Host) -> Child:
    """Starts the container's process with an empty log; raises OSError where it can't be executed."""
    for path in (launch.log, launch.message_file):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    launch.cwd.mkdir(parents=True, exist_ok=True)
    return await host.keeper.start(launch.argv, env=launch.env, cwd=launch.cwd, log=launch.log)


async def wait_within_memory(child: Child, limit: float | None) -> tuple[int, bool]:
    """Exit code, and whether the container was killed because its processes together took more than `limit` bytes."""
    if limit is None:
        return await child.wait(), False
    ended = asyncio.ensure_future(child.wait())
    while not (await asyncio.wait({ended}, timeout=MEMORY_POLL_SECONDS))[0]:
        if await asyncio.to_thread(child.memory) > limit:
            child.signal_all(signal.SIGKILL)
            return await ended, True
    return ended.result(), False


def read_message(container: Object, launch: Launch, code: int) -> str:
    """The termination message: the file's, or the log's tail where the container asks for that."""
    message = launch.message_file.read_bytes()[:_MAX_MESSAGE_BYTES]
    if not message and code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        message = launch.log.read_bytes()[-_LOG_TAIL_BYTES:]
    return message.decode(errors="replace")


def _image_environment(container: Object, pod: Object, *, home: Path, scratch: str) -> dict[str, str]:
    """What the image and the runtime would set, but for PATH."""
    cores = container_requests(container).get("cpu", 1.0)
    return {
        "HOME": str(home),
        "HOSTNAME": pod["metadata"]["name"],
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        PRETENDED_ACCELERATORS: "1",
        # Ranks share this host's cores, and its loopback interface is their only network.
        "OMP_NUM_THREADS": str(max(1, int(cores))),
        "GLOO_SOCKET_IFNAME": "lo" if sys.platform == "linux" else "lo0",
    }
