"""Whether the API server serves our kinds yet, and as this version of the operator needs them.

The schemas are read where everybody may read them: in the API server's OpenAPI documents.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from footplate import __version__
from footplate.api.crd import GROUP, KINDS, VERSION, Kind, build_crd
from footplate.api.served import Difference, Schema, compare
from footplate.errors import NotFound, Terminal
from footplate.machinery.client import KubeClient

API = f"{GROUP}/{VERSION}"
WAY_OUT = "kubectl apply -f crds/"

_DOCUMENT = f"apis/{API}"
_MOST_NAMED = 5


class CrdsChanged(Terminal):
    """The CRDs that are served by now aren't those that this operator needs."""


async def find_problem(client: KubeClient) -> str | None:
    """Why there can be no work with our kinds yet, in words."""
    if missing := await _find_missing(client):
        return f"not installed: {', '.join(missing)}; {WAY_OUT}"
    problems = [*_find_unfit(await _served_schemas(client))]
    return "; ".join(problems) or None


async def find_edition(client: KubeClient) -> str:
    """Another text whenever other CRDs are served."""
    paths = (await client.get_path("/openapi/v3")).get("paths") or {}
    return str((paths.get(_DOCUMENT) or {}).get("serverRelativeURL", ""))


async def _find_missing(client: KubeClient) -> list[str]:
    """What kopf wouldn't find: it looks for the group and then for its resources, once, and never again."""
    wanted = sorted(kind.plural for kind in KINDS)
    found = await client.get_path("/apis")
    if GROUP not in {each["name"] for each in found["groups"]}:
        return wanted
    try:
        served = await client.get_path(f"/{_DOCUMENT}")
    except NotFound:
        return wanted
    return [plural for plural in wanted if plural not in {each["name"] for each in served["resources"]}]


async def _served_schemas(client: KubeClient) -> Mapping[str, Schema]:
    """By kind. There is none for a moment after a CRD was established."""
    try:
        document = await client.get_path(f"/openapi/v3/{_DOCUMENT}")
    except NotFound:
        return {}
    schemas = (document.get("components") or {}).get("schemas") or {}
    return {kind: schema for schema in schemas.values() for kind in _kinds_of(schema)}


def _kinds_of(schema: Mapping[str, Any]) -> Iterator[str]:
    for each in schema.get("x-kubernetes-group-version-kind") or ():
        if (each.get("group"), each.get("version")) == (GROUP, VERSION):
            yield each["kind"]


def _find_unfit(served: Mapping[str, Schema]) -> Iterator[str]:
    for kind in KINDS:
        name = f"{kind.plural}.{GROUP}"
        if kind.name not in served:
            yield f"the API server doesn't say yet what it serves as {name}"
            continue
        difference = compare(_schema_of(kind), served[kind.name])
        if not difference.fits:
            yield _describe(name, difference)


def _describe(name: str, difference: Difference) -> str:
    this = f"this operator ({__version__})"
    if difference.missing and not difference.unknown:
        return f"{name} is older than {this}: it lacks {_some(difference.missing)}; {WAY_OUT} of this version"
    if not difference.missing:
        needs = _some(difference.required)
        return f"{name} is newer than {this}, and takes no status without {needs}: upgrade the operator"
    lacks, has = _some(difference.missing), _some(difference.unknown)
    return f"{name} is of another line than {this}: it lacks {lacks}, and has {has}; {WAY_OUT} of this version"


def _some(paths: tuple[str, ...]) -> str:
    rest = len(paths) - _MOST_NAMED
    return ", ".join(paths[:_MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


@cache
def _schema_of(kind: Kind) -> Schema:
    [version] = build_crd(kind)["spec"]["versions"]
    schema: Schema = version["schema"]["openAPIV3Schema"]
    return schema
