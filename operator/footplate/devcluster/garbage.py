"""Garbage collection: what a deletion entails, done a moment later, as Kubernetes' controllers do.

An object whose owners are all gone is deleted; one in foreground deletion goes after its dependents, one in
orphan deletion lets them go first; a namespace goes after its contents, a custom definition with its objects.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable

from footplate.devcluster.errors import ApiError
from footplate.devcluster.registry import CRDS, NAMESPACES, Deletion, Options, Registry
from footplate.devcluster.resources import Resource, custom_resources
from footplate.devcluster.store import Body, Change, Key

log = logging.getLogger(__name__)
Node = tuple[Key, Key]
COLLECTOR = Options(manager="garbage-collector", validation="Ignore")


class GarbageCollector:
    """Follows the store's changes; `run` does the work that they leave."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._store = registry.store
        self._nodes: dict[str, Node] = {}
        self._dependents: defaultdict[str, set[Node]] = defaultdict(set)
        self._queue: asyncio.Queue[Node] = asyncio.Queue()
        self._store.listeners.append(self._observe)

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            node = await self._queue.get()
            try:
                self._attend(*node)
            except ApiError as error:
                log.warning("garbage collection of %s: %s", node, error.message)
            if self._queue.empty():
                await asyncio.sleep(0)

    def _observe(self, resource: Key, change: Change) -> None:
        metadata = change.new.body["metadata"]
        node = (resource, change.new.key)
        for owner in (change.old.body["metadata"] if change.old else {}).get("ownerReferences", ()):
            self._dependents[owner["uid"]].discard(node)
        if change.deleted:
            self._nodes.pop(metadata["uid"], None)
            for dependent in self._dependents.pop(metadata["uid"], ()):
                self._queue.put_nowait(dependent)
            self._wake_holders(metadata)
            if resource == CRDS:
                self._remove_custom_objects(change.new.body)
            return
        self._nodes[metadata["uid"]] = node
        for owner in metadata.get("ownerReferences", ()):
            self._dependents[owner["uid"]].add(node)
        if "ownerReferences" in metadata or "deletionTimestamp" in metadata:
            self._queue.put_nowait(node)

    def _wake_holders(self, metadata: Body) -> None:
        """Owners and a namespace may have waited for this object to go."""
        for owner in metadata.get("ownerReferences", ()):
            if owner["uid"] in self._nodes:
                self._queue.put_nowait(self._nodes[owner["uid"]])
        if metadata.get("namespace"):
            self._queue.put_nowait((NAMESPACES, ("", metadata["namespace"])))

    def _attend(self, storage: Key, key: Key) -> None:
        version = self._store.get(storage, key)
        resource = self._served(storage)
        if version is None or resource is None:
            return
        metadata = version.body["metadata"]
        if "deletionTimestamp" not in metadata:
            self._collect_if_unowned(resource, version.body)
        elif storage == NAMESPACES:
            self._empty_namespace(resource, version.body)
        elif "orphan" in metadata.get("finalizers", ()):
            self._orphan(resource, version.body)
        elif "foregroundDeletion" in metadata.get("finalizers", ()):
            self._delete_dependents(resource, version.body)

    def _served(self, storage: Key) -> Resource | None:
        return next((each for each in self._registry.resources.values() if each.storage == storage), None)

    def _collect_if_unowned(self, resource: Resource, body: Body) -> None:
        owners = body["metadata"].get("ownerReferences", ())
        gone = {owner["uid"] for owner in owners if owner["uid"] not in self._nodes}
        if owners and len(gone) == len({owner["uid"] for owner in owners}):
            self._delete(resource, body, "Background")
        elif gone:
            self._forget_owners(resource, body, gone)

    def _delete_dependents(self, resource: Resource, owner: Body) -> None:
        uid = owner["metadata"]["uid"]
        blocked = False
        for served, body in self._bodies_of(uid):
            references = body["metadata"]["ownerReferences"]
            if any(each["uid"] != uid and each["uid"] in self._nodes for each in references):
                self._forget_owners(served, body, {uid})
                continue
            blocked |= any(each["uid"] == uid and each.get("blockOwnerDeletion") for each in references)
            if "deletionTimestamp" not in body["metadata"]:
                has_own = bool(self._dependents.get(body["metadata"]["uid"]))
                self._delete(served, body, "Foreground" if has_own else "Background")
        if not blocked or not self._dependents.get(uid):
            self._drop_finalizer(resource, owner, "foregroundDeletion")

    def _orphan(self, resource: Resource, owner: Body) -> None:
        uid = owner["metadata"]["uid"]
        for served, body in self._bodies_of(uid):
            self._forget_owners(served, body, {uid})
        self._drop_finalizer(resource, owner, "orphan")

    def _empty_namespace(self, resource: Resource, namespace: Body) -> None:
        name = namespace["metadata"]["name"]
        contents = [
            (served, version.body)
            for storage in self._store.resources()
            if (served := self._served(storage)) and served.namespaced
            for version in self._store.versions(storage, name)
        ]
        for served, body in contents:
            if "deletionTimestamp" not in body["metadata"]:
                self._delete(served, body, "Background")
        if not any(self._store.get(served.storage, (name, body["metadata"]["name"])) for served, body in contents):
            self._store.remove(resource.storage, namespace)

    def _remove_custom_objects(self, definition: Body) -> None:
        for storage in {each.storage for each in custom_resources(definition)}:
            for version in self._store.versions(storage):
                self._store.remove(storage, version.body)

    def _bodies_of(self, uid: str) -> list[tuple[Resource, Body]]:
        """The dependents of an owner."""
        found = [(self._served(storage), self._store.get(storage, key)) for storage, key in self._dependents[uid]]
        return [(resource, version.body) for resource, version in found if resource and version]

    def _delete(self, resource: Resource, body: Body, propagation: str) -> None:
        metadata = body["metadata"]
        deletion = Deletion(propagation=propagation, uid=metadata["uid"])
        self._registry.delete(resource, metadata.get("namespace", ""), metadata["name"], deletion)

    def _forget_owners(self, resource: Resource, body: Body, uids: set[str]) -> None:
        def change(copy: Body) -> Body:
            references = copy["metadata"].get("ownerReferences", ())
            copy["metadata"]["ownerReferences"] = [each for each in references if each["uid"] not in uids]
            return copy

        self._update(resource, body, change)

    def _drop_finalizer(self, resource: Resource, body: Body, finalizer: str) -> None:
        def change(copy: Body) -> Body:
            copy["metadata"]["finalizers"] = [each for each in copy["metadata"]["finalizers"] if each != finalizer]
            return copy

        self._update(resource, body, change)

    def _update(self, resource: Resource, body: Body, change: Callable[[Body], Body]) -> None:
        metadata = body["metadata"]
        self._registry.update(resource, metadata.get("namespace", ""), metadata["name"], change, COLLECTOR)
