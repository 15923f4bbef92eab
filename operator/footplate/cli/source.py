"""The manifest that a command is given: a file, or standard input, which can be read only once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def read_source(file: Path) -> Path | Mapping[str, Any]:
    """What the client takes for a job; raises JobInvalid where standard input holds no YAML."""
    from footplate.client.errors import JobInvalid
    from footplate.client.submission import read_job
    from footplate.manifests.documents import STDIN

    if str(file) != STDIN:
        return file
    document = read_job(file, namespace="")
    if document.problems:
        raise JobInvalid(document.problems)
    content: Mapping[str, Any] = document.content
    return content
