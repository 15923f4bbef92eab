"""What `footplate dev run` reads of one job: its manifest, its progress, and the log of its rank 0."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import ValidationError

from footplate.contract import METRICS_PORT, Label, Progress
from footplate.devcluster.client import ApiClient
from footplate.errors import ConfigurationError
from footplate.manifests.documents import find_files, read_documents


def read_job(files: Sequence[Path]) -> tuple[str, str]:
    """Namespace and name of the one TrainingJob in these manifests; raises ConfigurationError."""
    jobs = [each for path in files for each in _read_objects(path) if each.get("kind") == "TrainingJob"]
    if len(jobs) != 1:
        where = ", ".join(map(str, files))
        raise ConfigurationError(f"--filename {where}: holds {len(jobs)} TrainingJobs; `dev run` takes exactly one")
    metadata = jobs[0].get("metadata") or {}
    if "name" not in metadata:
        raise ConfigurationError(
            f"--filename {', '.join(map(str, files))}: metadata.name of the TrainingJob is missing"
        )
    return metadata.get("namespace", "default"), metadata["name"]


async def read_live(client: ApiClient, session: aiohttp.ClientSession, job: Mapping[str, Any]) -> Mapping[str, Any]:
    """The job with its progress as rank 0's pod tells it now; the operator writes it down every 15 s only."""
    metadata, status = job["metadata"], job.get("status") or {}
    if status.get("phase") != "Running":
        return job
    ranks = f"{Label.JOB}={metadata['name']},{Label.RANK}=0,{Label.ATTEMPT}={status.get('attempt', 0)}"
    path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
    pods = (await client.request("GET", path, labelSelector=ranks))["items"]
    try:
        url = f"http://{pods[0]['status']['podIP']}:{METRICS_PORT}/progress"
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            live = Progress.model_validate_json(await response.read())
    except (IndexError, KeyError, aiohttp.ClientError, TimeoutError, ValidationError):
        return {**job, "status": {**status, "progress": None}}  # not up yet, or just gone
    return {**job, "status": {**status, "progress": live.progress.to_json()}}


def _read_objects(path: Path) -> Iterator[dict[str, Any]]:
    try:
        documents = [each for file in find_files(str(path)) for each in read_documents(file, stdin=sys.stdin)]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--filename {path}: {error}") from error
    for document in documents:
        for problem in document.problems:
            raise ConfigurationError(f"--filename {document.file}, line {document.line_of(problem.path)}: {problem}")
        content = document.content
        if isinstance(content, dict):
            yield from content.get("items", []) if content.get("kind") == "List" else [content]
