"""Whether the API server serves our kinds yet."""

from footplate.errors import NotFound
from footplate.machinery.client import KubeClient
from footplate.machinery.resources import CLUSTER_RUNTIMES, POLICIES, RUNTIMES, TRAINING_JOBS

_KINDS = (CLUSTER_RUNTIMES, POLICIES, RUNTIMES, TRAINING_JOBS)


async def find_missing_crds(client: KubeClient) -> list[str]:
    """What kopf wouldn't find: it looks for the group and then for its resources, once, and never again."""
    wanted = [resource.plural for resource in _KINDS]
    group, _, _ = TRAINING_JOBS.api.partition("/")
    found = await client.get_path("/apis")
    if group not in {each["name"] for each in found["groups"]}:
        return wanted
    try:
        served = await client.get_path(f"/apis/{TRAINING_JOBS.api}")
    except NotFound:
        return wanted
    return [plural for plural in wanted if plural not in {each["name"] for each in served["resources"]}]
