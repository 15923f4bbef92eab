"""Which schedulers of gangs the cluster serves: asked for at the start, and again now and then, since somebody may
install one.
"""

import asyncio
from collections.abc import Mapping

from footplate.errors import NotFound
from footplate.gangs.kinds import GangKind
from footplate.gangs.table import SCHEDULERS
from footplate.machinery.client import KubeClient
from footplate.objects import blocks, text


async def find_gang_apis(client: KubeClient) -> Mapping[GangKind, str]:
    """Group and version that is to be used of each kind that the API server serves."""
    groups = blocks(await client.get_path("/apis"), "groups")
    served = {text(version, "groupVersion") for group in groups for version in blocks(group, "versions")}
    found = await asyncio.gather(*(_first_served(client, kind, served) for kind in SCHEDULERS))
    return {kind: api for kind, api in zip(SCHEDULERS, found, strict=True) if api is not None}


async def _first_served(client: KubeClient, kind: GangKind, served: set[str]) -> str | None:
    """A group alone says nothing: others than PodGroups may be in it."""
    scheduler = SCHEDULERS[kind]
    for api in scheduler.apis:
        if api in served and scheduler.plural in await _plurals(client, api):
            return api
    return None


async def _plurals(client: KubeClient, api: str) -> set[str]:
    try:
        answer = await client.get_path(f"/apis/{api}")
    except NotFound:  # gone since the groups were listed
        return set()
    return {text(resource, "name") for resource in blocks(answer, "resources")}
