"""The project's CRDs, as a platform team applies them."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from footplate.devcluster.client import ApiClient

_FOLDER = Path(__file__).parents[1] / "crds"
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def install_crds(client: ApiClient) -> None:
    """Creates all of them."""
    for crd in _read():
        await client.request("POST", _PATH, crd)


@cache
def _read() -> list[Any]:
    """Once a process: to parse them takes seconds, and a sweep has a hundred clusters."""
    return [yaml.safe_load(path.read_text()) for path in sorted(_FOLDER.glob("*.yaml"))]
