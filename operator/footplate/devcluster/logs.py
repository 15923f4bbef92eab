"""Pod logs from plain files: tail, byte limit, and follow until the pod has ended.

The files carry no times: `timestamps` shows when a line was read, `sinceSeconds` looks at the file's last change.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from footplate.devcluster.errors import bad_request
from footplate.devcluster.registry import Registry
from footplate.devcluster.values import look_up

POLL_SECONDS = 0.1
PodLog = Callable[[str, str, str], Path]


def pick_container(registry: Registry, namespace: str, name: str, wanted: str) -> str:
    """The container whose log is meant; ApiError in kubectl's words where there is none."""
    pod = registry.get(registry.resources["", "v1", "pods"], namespace, name).body
    names = [container["name"] for container in pod["spec"]["containers"]]
    if not wanted and len(names) > 1:
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(names)}]")
    if wanted and wanted not in names:
        raise bad_request(f"container {wanted} is not valid for pod {name}")
    container = wanted or names[0]
    statuses = look_up(pod, "status.containerStatuses") or [{"name": container, "state": {"waiting": {}}}]
    waiting: Mapping[str, str] | None = next(
        (each["state"].get("waiting") for each in statuses if each["name"] == container), {}
    )
    if waiting is not None:
        reason = waiting.get("reason", "ContainerCreating")
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
    return container


async def send_log(request: web.BaseRequest, path: Path, *, ended: Callable[[], bool]) -> web.StreamResponse:
    """Send the log at `path`; with `follow`, what is added to it until `ended()` says that no more will come."""
    query = request.query
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    data, position = _read(path, 0)
    data = _limit(data, path, query)
    while True:
        if data:
            await response.write(_stamp(data) if query.get("timestamps") in ("true", "1") else data)
        over = query.get("follow") not in ("true", "1") or ended()
        data, position = _read(path, position)
        if over and not data:
            return response
        if not data:
            await asyncio.sleep(POLL_SECONDS)


def _read(path: Path, position: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            file.seek(position)
            data = file.read()
    except FileNotFoundError:
        return b"", position
    return data, position + len(data)


def _limit(data: bytes, path: Path, query: Mapping[str, str]) -> bytes:
    since = float(query.get("sinceSeconds") or "inf")
    if data and time.time() - path.stat().st_mtime > since:
        return b""
    if query.get("tailLines"):
        lines = data.splitlines(keepends=True)
        data = b"".join(lines[max(len(lines) - int(query["tailLines"]), 0) :])
    return data[: int(query["limitBytes"])] if query.get("limitBytes") else data


def _stamp(data: bytes) -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ ").encode()
    return b"".join(now + line for line in data.splitlines(keepends=True))
