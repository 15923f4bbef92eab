"""What `footplate dev run` does with one job: reads its manifest, brings its data, and fetches its model."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
from pydantic import ValidationError

from footplate.cli.manifests import find_files, read_documents
from footplate.contract import METRICS_PORT, Label, Progress
from footplate.devcluster.client import ApiClient
from footplate.devcluster.s3 import BUCKETS, S3Server
from footplate.errors import ConfigurationError


@dataclass(frozen=True)
class Upload:
    """`--data FOLDER=s3://BUCKET/PREFIX`."""

    folder: Path
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ConfigurationError with the way out."""
        folder, uri = parse_pair(text, option="--data", form="FOLDER=s3://BUCKET/PREFIX")
        if not Path(folder).is_dir():
            raise ConfigurationError(f"--data {text}: there is no folder {folder}")
        return cls(Path(folder), *parse_uri(uri, option="--data"))

    async def send(self, s3: S3Server) -> int:
        """Uploads every file of the folder; how many there were."""
        store, count = s3.store(self.bucket), 0
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                await store.put_async(f"{self.prefix}{path.relative_to(self.folder)}", path)
                count += 1
        return count


def parse_pair(text: str, *, option: str, form: str) -> tuple[str, str]:
    """Splits `A=B`; raises ConfigurationError where it isn't one."""
    first, equals, second = text.partition("=")
    if not (first and equals and second):
        raise ConfigurationError(f"{option} {text}: write it as {form}")
    return first, second


def parse_uri(uri: str, *, option: str) -> tuple[str, str]:
    """Bucket and prefix, which ends with a slash where it isn't empty."""
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    if not uri.startswith("s3://") or bucket not in BUCKETS:
        buckets = ", ".join(f"s3://{each}/" for each in BUCKETS)
        raise ConfigurationError(f"{option} {uri}: the devcluster has the buckets {buckets}")
    return bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""


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


async def download_artifact(s3: S3Server, uri: str, folder: Path) -> None:
    """Copies all objects below `uri` into `folder`."""
    bucket, prefix = parse_uri(uri, option="artifact")
    store = s3.store(bucket)
    for item in await store.list(prefix).collect_async():
        path = folder / item["path"].removeprefix(prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = await store.get_async(item["path"])
        path.write_bytes(await answer.bytes_async())


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
