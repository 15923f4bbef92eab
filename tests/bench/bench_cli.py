"""How long people wait for the command: `--help`, and a list of 5,000 jobs."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from footplate.api.crd import build_crds
from footplate.devcluster.client import ApiClient
from footplate.devcluster.server import ApiServer

JOBS, ROUNDS, AT_ONCE = 5_000, 5, 50
STATUS = {
    "phase": "Running",
    "run": 1,
    "attempt": 0,
    "nodes": {"desired": 8, "created": 8, "scheduled": 8, "ready": 8},
    "progress": {"step": 1200, "totalSteps": 9380, "percent": 12.8, "etaSeconds": 725, "metrics": {"loss": 0.41}},
    "transitions": [{"phase": "Running", "time": "2026-01-01T00:00:00Z"}],
}


async def main() -> None:
    """Prints one JSON line a command."""
    with tempfile.TemporaryDirectory() as folder:
        async with ApiServer() as server, ApiClient(server.kubeconfig()) as client:
            kubeconfig = Path(folder) / "kubeconfig"
            kubeconfig.write_text(json.dumps(server.kubeconfig()))
            for definition in build_crds():
                await client.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
            for begin in range(0, JOBS, AT_ONCE):
                await asyncio.gather(*(_create(client, number) for number in range(begin, begin + AT_ONCE)))
            for arguments in (["--help"], ["list"], ["list", "-o", "json"]):
                seconds = [await asyncio.to_thread(_seconds, arguments, kubeconfig) for _ in range(ROUNDS)]
                figures = {
                    "command": " ".join(arguments),
                    "jobs": JOBS,
                    "seconds": round(statistics.median(seconds), 2),
                }
                print(json.dumps({**figures, "load": round(os.getloadavg()[0], 1)}), flush=True)


async def _create(client: ApiClient, number: int) -> None:
    path = "/apis/footplate.dev/v1alpha1/namespaces/default/trainingjobs"
    job = {
        "apiVersion": "footplate.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": f"job-{number:04}"},
        "spec": {"trainer": {"image": "i", "command": ["true"]}, "nodes": 8},
    }
    await client.request("POST", path, job)
    merge = "application/merge-patch+json"
    await client.request("PATCH", f"{path}/job-{number:04}/status", {"status": STATUS}, kind=merge)


def _seconds(arguments: list[str], kubeconfig: Path) -> float:
    command = [sys.executable, "-m", "footplate.cli.main", *arguments]
    began = time.monotonic()
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.monotonic() - began


if __name__ == "__main__":
    asyncio.run(main())
