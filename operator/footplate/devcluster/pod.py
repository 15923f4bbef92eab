"""One pod on this host: its containers as processes, from the binding to the report of its end.

Containers are never restarted: `restartPolicy: Never` is the only one known here. Every change of a container's state
is reported at once and in order; a pod that meanwhile is gone from the API is no error.
"""

import asyncio
import logging
import shutil
import signal
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any, TypeVar

from footplate.devcluster.client import STRATEGIC
from footplate.devcluster.container import (
    Host,
    Launch,
    prepare_launch,
    read_message,
    start,
    wait_within_memory,
)
from footplate.devcluster.environment import ContainerConfigError, pod_address
from footplate.devcluster.podstatus import ContainerStatus, State, event, pod_status, running, terminated, waiting
from footplate.devcluster.probes import read_liveness
from footplate.devcluster.process import Child
from footplate.devcluster.volumes import make_volumes
from footplate.errors import ApiUnavailable, Conflict, NotFound

RETRY_SECONDS = 0.5
_log = logging.getLogger(__name__)
Object = Mapping[str, Any]
T = TypeVar("T")


def log_failure(task: asyncio.Task[None]) -> None:
    """Says what ended a task of the node that nobody waits for; the others go on."""
    if not task.cancelled() and (error := task.exception()):
        _log.error("the devcluster's node goes on without a task that failed", exc_info=error)


class PodRunner:
    """Runs one pod that is bound to this host's node."""

    def __init__(self, pod: Object, host: Host) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        self.namespace: str = metadata["namespace"]
        self.name: str = metadata["name"]
        self.node: str = spec.get("nodeName") or ""
        self._address = pod_address(self.namespace, self.name)
        self._pod = {**pod, "status": {"podIP": self._address, "hostIP": "127.0.0.1"}}
        self._host = host
        self._folder = host.folder / "pods" / metadata["uid"][:13]
        self._volumes: Path = self._folder / "volumes"
        self._init = [ContainerStatus(each["name"], each["image"]) for each in spec.get("initContainers") or ()]
        self._main = [ContainerStatus(each["name"], each["image"]) for each in spec["containers"]]
        self._running: dict[str, tuple[Child, Launch]] = {}
        self._reported: Object = pod.get("status") or {}
        self._reporting = asyncio.Lock()
        self._ending = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Runs the pod in the background."""
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(log_failure)

    async def end(self, *, grace: float) -> None:
        """Stops the containers within `grace` seconds, and returns when their ends are reported."""
        self._ending = True
        while self._task is not None and not self._task.done():
            if not self._running:
                self._task.cancel()
            await asyncio.gather(*(child.stop(grace=grace) for child, _ in self._running.values()))
            await asyncio.wait({self._task}, timeout=RETRY_SECONDS)

    async def kill(self) -> None:
        """Ends everything at once and reports nothing, as when the node loses power."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def remove(self) -> None:
        """Kills what runs and removes the pod's folder; its logs stay until another pod of this name starts."""
        await self.kill()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    def volume(self, name: str) -> Path:
        """The folder of one of the pod's volumes (but persistent claims)."""
        return self._volumes / name

    async def report_lost(self) -> None:
        """Reports that the containers ended while nobody watched."""
        message = "The container could not be located when the pod was terminated"
        for status in self._main:
            if status.exit_code is None:
                status.state = terminated(status.state, 137, reason="ContainerStatusUnknown", message=message)
        await self._report()

    def signal(self, number: int, *, everyone: bool = False) -> None:
        """Signals the main process of each running container, or every process of the pod."""
        for child, _ in self._running.values():
            (child.signal_all if everyone else child.signal)(number)

    async def _run(self) -> None:
        spec = self._pod["spec"]
        with tempfile.TemporaryDirectory(prefix="fp-", ignore_cleanup_errors=True) as scratch:
            await self._report()
            volumes = await self._attempt(self._main[0], "ContainerCreating", self._make_volumes)

            async def run(container: Object, status: ContainerStatus) -> None:
                await self._run_container(container, status, volumes, scratch)

            for container, status in zip(spec.get("initContainers") or (), self._init, strict=True):
                await run(container, status)
                if status.exit_code:
                    return
            async with asyncio.TaskGroup() as group:
                for container, status in zip(spec["containers"], self._main, strict=True):
                    group.create_task(run(container, status))

    async def _run_container(
        self, container: Object, status: ContainerStatus, volumes: Mapping[str, Path], scratch: str
    ) -> None:
        async def prepare() -> Launch:
            return await prepare_launch(
                container, self._pod, self._host, volumes=volumes, folder=self._folder, scratch=scratch
            )

        await self._pull(status)
        if note := self._host.images.note(status.image):
            await self._tell("ImageNotMapped", note, container=status.name, kind="Normal")
        launch = await self._attempt(status, "CreateContainerConfigError", prepare)
        try:
            child = await start(launch, self._host)
        except OSError as error:
            why = (error.strerror or "").lower()
            message = f'OCI runtime create failed: exec: "{launch.argv[0]}": {why}'  # in a runtime's words
            await self._set(status, terminated(status.state, 128, reason="StartError", message=message))
            return
        self._running[status.name] = (child, launch)
        probing = asyncio.create_task(self._probe(container, child))
        probing.add_done_callback(log_failure)
        try:
            await self._set(status, running())
            code, out_of_memory = await wait_within_memory(child, launch.memory_limit)
        except asyncio.CancelledError:
            child.signal_all(signal.SIGKILL)
            await child.wait()
            raise
        finally:
            probing.cancel()
            del self._running[status.name]
        reason = "OOMKilled" if out_of_memory else ""
        message = read_message(container, launch, code)
        await self._set(status, terminated(status.state, code, reason=reason, message=message))

    async def _tell(self, reason: str, message: str, *, container: str, kind: str = "Warning") -> None:
        body = event(self._pod, reason, message, container=container, kind=kind)
        with suppress(NotFound, Conflict, ApiUnavailable):
            await self._host.client.request("POST", f"/api/v1/namespaces/{self.namespace}/events", body)

    async def _probe(self, container: Object, child: Child) -> None:
        """Ends a container that doesn't answer any more, unless it is being stopped anyway."""
        tell = partial(self._tell, container=container["name"])
        liveness = read_liveness(container, self._pod)
        if liveness is None:
            return
        await liveness.fails(partial(tell, "Unhealthy"))
        if not self._ending:
            await tell("Killing", f"Container {container['name']} failed liveness probe")
            await child.stop(grace=liveness.grace)

    async def _pull(self, status: ContainerStatus) -> None:
        if self._host.pull_seconds:
            await asyncio.sleep(self._host.pull_seconds)
        for reason in chain(["ErrImagePull"], repeat("ImagePullBackOff")):
            if not any(marker in status.image for marker in self._host.missing_images):
                return
            message = f'failed to pull image "{status.image}": not found'
            await self._set(status, waiting(reason, message))
            await asyncio.sleep(RETRY_SECONDS)

    async def _make_volumes(self) -> dict[str, Path]:
        claims = self._host.folder / "claims"
        return await make_volumes(self._pod, self._volumes, claims=claims, look_up=self._host.look_up(self.namespace))

    async def _attempt(self, status: ContainerStatus, reason: str, make: Callable[[], Awaitable[T]]) -> T:
        """Tries until it works; the container's status says why it doesn't."""
        while True:
            try:
                return await make()
            except ContainerConfigError as error:
                await self._set(status, waiting(reason, str(error)))
            await asyncio.sleep(RETRY_SECONDS)

    async def _set(self, status: ContainerStatus, state: State) -> None:
        status.state = state
        await self._report()

    async def _report(self) -> None:
        async with self._reporting:
            await self._host.connected(self.node)
            status = pod_status(self._main, self._init, address=self._address, before=self._reported)
            if status == self._reported:
                return
            path = f"/api/v1/namespaces/{self.namespace}/pods/{self.name}/status"
            patch = {"metadata": {"uid": self._pod["metadata"]["uid"]}, "status": status}
            with suppress(NotFound, Conflict):
                await self._host.client.request("PATCH", path, patch, kind=STRATEGIC)
            self._reported = status


class PretendedPod(PodRunner):
    """A pod that is reported as running without any process, until it is told how it ends."""

    def __init__(self, pod: Object, host: Host) -> None:
        super().__init__(pod, host)
        self._finish: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def finish(self, code: int, message: str) -> None:
        """Ends all containers with this exit code (negative for a signal) and termination message."""
        if not self._finish.done():
            self._finish.set_result((code, message))

    def signal(self, number: int, *, everyone: bool = False) -> None:
        """Any signal ends it but those that freeze and thaw."""
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            self.finish(-number, "")

    async def end(self, *, grace: float) -> None:
        """Ends at once, whatever the grace."""
        self.signal(signal.SIGTERM)
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        for status in self._main:
            status.state = running()
        await self._report()
        code, message = await self._finish
        for status in self._main:
            status.state = terminated(status.state, code, message=message)
        await self._report()
