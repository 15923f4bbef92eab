"""How long people wait for the command: `--help`, and a list of 5,000 jobs.

The API server is a program that answers at once, so what a real one takes to read 5,000 jobs comes on top.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from aiohttp import web

JOBS, ROUNDS = 5_000, 3
STATUS = {
    "phase": "Running",
    "run": 1,
    "attempt": 0,
    "nodes": {"desired": 8, "created": 8, "scheduled": 8, "ready": 8},
    "progress": {
        "step": 1200,
        "totalSteps": 9380,
        "percent": 12.8,
        "etaSeconds": 725,
        "metrics": {"loss": 0.41},
        "history": {"steps": list(range(0, 960, 8)), "metrics": {"loss": [0.41234] * 120}},
    },
    "transitions": [{"phase": "Running", "time": "2026-01-01T00:00:00Z"}],
}


def jobs() -> bytes:
    """The API server's answer."""
    items = [
        {
            "apiVersion": "footplate.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": f"job-{number:04}", "namespace": "default", "uid": f"{number}"},
            "spec": {"trainer": {"image": "i", "command": ["true"]}, "nodes": 8},
            "status": STATUS,
        }
        for number in range(JOBS)
    ]
    return json.dumps(
        {
            "apiVersion": "footplate.dev/v1alpha1",
            "kind": "TrainingJobList",
            "metadata": {"resourceVersion": "1"},
            "items": items,
        }
    ).encode()


async def main() -> None:
    """Prints one JSON line a command."""
    answer = jobs()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=answer, content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder) / "kubeconfig"
        kubeconfig.write_text(json.dumps(access(runner.addresses[0][1])))
        for arguments in (["--help"], ["list"], ["list", "-o", "json"]):
            seconds = [await asyncio.to_thread(measure, arguments, kubeconfig) for _ in range(ROUNDS)]
            wall, processor = (round(statistics.median(each), 2) for each in zip(*seconds, strict=True))
            figures = {"command": " ".join(arguments), "jobs": JOBS, "seconds": wall, "cpu_seconds": processor}
            print(json.dumps({**figures, "load": round(os.getloadavg()[0], 1)}), flush=True)
    await runner.cleanup()


def access(port: int) -> dict[str, object]:
    """A kubeconfig."""
    return {
        "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "a", "user": {}}],
    }


def measure(arguments: list[str], kubeconfig: Path) -> tuple[float, float]:
    """Seconds from the command's start to its end, and those of a processor."""
    command = [sys.executable, "-m", "footplate.cli.main", *arguments]
    began, used = time.monotonic(), os.times()
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    now = os.times()
    processor = now.children_user + now.children_system - used.children_user - used.children_system
    return time.monotonic() - began, processor


if __name__ == "__main__":
    asyncio.run(main())
