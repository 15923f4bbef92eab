"""Reading many objects: pages, tables, selectors, and the watch that goes on where a list ended."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any

from footplate.devcluster.errors import ApiError, bad_request, expired
from footplate.devcluster.events import core_field, present
from footplate.devcluster.faults import WatchFault
from footplate.devcluster.registry import Registry
from footplate.devcluster.resources import Resource
from footplate.devcluster.selectors import Predicate, select
from footplate.devcluster.store import Version
from footplate.devcluster.table import make_table
from footplate.devcluster.values import quote
from footplate.devcluster.watch import Watch

Query = Mapping[str, str]
TRUE = ("true", "1")
MAX_SNAPSHOTS = 64
STALE = (
    "The provided continue parameter is too old to display a consistent list result. "
    "You can start a new list without the continue parameter."
)


def render(resource: Resource, version: Version) -> bytes:
    """An object as the resource shows it."""
    return resource.head + present(resource, version).json


class Listing:
    """Answers list and watch requests. What a paged list has yet to send is kept as it was at its first page."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self._snapshots: OrderedDict[str, list[Version]] = OrderedDict()

    def make_list(self, resource: Resource, namespace: str, query: Query, *, as_table: bool) -> bytes:
        """The list, or its table, as JSON."""
        versions, metadata = self.page(resource, namespace, query)
        if as_table:
            return quote({**self.make_table(resource, versions, query), "metadata": metadata}).encode()
        head = resource.head if resource.custom else b"{"
        items = b",".join(head + present(resource, version).json for version in versions)
        start = {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata}
        return quote(start).encode()[:-1] + b',"items":[' + items + b"]}"

    def make_table(self, resource: Resource, versions: list[Version], query: Query) -> Mapping[str, Any]:
        """The table of some objects."""
        include = query.get("includeObject", "Metadata")
        return make_table(resource, versions, self._registry.clock(), include=include)

    def make_watch(
        self, resource: Resource, namespace: str, query: Query, *, as_table: bool, fault: WatchFault | None
    ) -> Watch:
        """The watch that a list request with `watch` asks for."""
        revision = query.get("resourceVersion", "")
        if revision and not revision.isdigit():
            why = f"strconv.ParseUint: parsing {quote(revision)}: invalid syntax"
            raise ApiError(500, "", f"resourceVersion: Invalid value: {quote(revision)}: {why}")
        initial = query.get("sendInitialEvents") in TRUE
        return Watch(
            self._store,
            resource,
            namespace,
            self._predicate(resource, query),
            partial(self._table_bytes, query) if as_table else render,
            revision=None if initial or revision in ("", "0") else int(revision),
            bookmarks=query.get("allowWatchBookmarks") in TRUE,
            initial_end=initial,
            seconds=float(query.get("timeoutSeconds") or 1800),
            fault=fault,
        )

    def page(self, resource: Resource, namespace: str, query: Query) -> tuple[list[Version], dict[str, Any]]:
        """The objects to send, and the list's metadata."""
        limit = _parse_limit(query.get("limit"))
        if query.get("continue"):
            versions, revision = self._resume(query["continue"])
        else:
            revision = self._check_revision(query.get("resourceVersion", ""))
            predicate = self._predicate(resource, query)
            versions = self._store.versions(resource.storage, namespace)
            versions = [each for each in versions if predicate(each.body)] if predicate else versions
        metadata: dict[str, Any] = {"resourceVersion": revision}
        if limit and len(versions) > limit:
            metadata["continue"] = self._keep(versions[limit:], revision)
            if not (query.get("labelSelector") or query.get("fieldSelector")):
                metadata["remainingItemCount"] = len(versions) - limit
        return versions[:limit] if limit else versions, metadata

    def _resume(self, token: str) -> tuple[list[Version], str]:
        name, _, revision = token.partition(".")
        if not revision:
            raise bad_request("invalid continue token: continue key is not valid")
        if name not in self._snapshots:
            raise expired(STALE)
        return self._snapshots[name], revision

    def _keep(self, versions: list[Version], revision: str) -> str:
        name = secrets.token_hex(8)
        self._snapshots[name] = versions
        if len(self._snapshots) > MAX_SNAPSHOTS:
            self._snapshots.popitem(last=False)
        return f"{name}.{revision}"

    def _check_revision(self, wanted: str) -> str:
        now = self._store.revision
        if wanted.isdigit() and int(wanted) > now:
            causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
            details = {"causes": causes, "retryAfterSeconds": 1}
            raise ApiError(504, "Timeout", f"Timeout: Too large resource version: {wanted}, current: {now}", details)
        return str(now)

    def _predicate(self, resource: Resource, query: Query) -> Predicate | None:
        fields = core_field(resource, query.get("fieldSelector", ""))
        return select(query.get("labelSelector", ""), fields, selectable=resource.selectable)

    def _table_bytes(self, query: Query, resource: Resource, version: Version) -> bytes:
        metadata = {"resourceVersion": str(version.revision)}
        return quote({**self.make_table(resource, [version], query), "metadata": metadata}).encode()


def _parse_limit(text: str | None) -> int:
    try:
        return int(text or 0)
    except ValueError as error:
        raise bad_request(f"strconv.ParseInt: parsing {quote(text)}: invalid syntax") from error
