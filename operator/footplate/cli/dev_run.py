"""What `footplate dev run` reads of one job: its manifest, and how it gets on."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from footplate.client import Job
from footplate.errors import ConfigurationError
from footplate.manifests.documents import find_files, read_documents
from footplate.objects import block


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


def read_live(job: Job) -> Mapping[str, Any]:
    """The job as it is, with its progress as rank 0's pod tells it now; the operator writes it down every 15 s only."""
    manifest = job.refresh().manifest
    live = job.live()
    return {**manifest, "status": {**block(manifest, "status"), "progress": live.to_json() if live else None}}


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
