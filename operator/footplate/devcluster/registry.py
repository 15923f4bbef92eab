"""The verbs of the API on stored objects: what create, update and delete mean, whoever asks and however.

Every call is atomic (nothing here awaits). Deletion follows Kubernetes: an object with finalizers or with
a grace period stays, marked with `deletionTimestamp`, until the last finalizer goes or it is deleted again
with no grace.
"""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from footplate.devcluster.admission import complete, decode, open_envelope
from footplate.devcluster.builtin import NEEDS_REVISION, PROTECTED_NAMESPACES, RETURNS_DELETED
from footplate.devcluster.errors import (
    ApiError,
    FieldError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid_object,
    not_found,
)
from footplate.devcluster.ownership import record_update
from footplate.devcluster.resources import Resource, builtin_resources, custom_resources
from footplate.devcluster.store import Body, Change, Key, Store, Version
from footplate.devcluster.values import copy_json, parse

NAMESPACES = ("", "namespaces")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
SYSTEM_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
RECREATED = "The object might have been deleted and then recreated"
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
Ownership = Callable[[Resource, Body | None, Body, str, str, str], None]


@dataclass
class Options:
    """How a write is done; `warnings` collects what the answer's Warning headers say."""

    manager: str = "unknown"
    dry_run: bool = False
    validation: str = "Warn"
    subresource: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Deletion:
    """DeleteOptions: grace in seconds (None: the object's own), propagation policy, preconditions."""

    grace: int | None = None
    propagation: str | None = None
    uid: str | None = None
    revision: str | None = None
    dry_run: bool = False


class Registry:
    """All served resources, by group, version and plural, and the verbs on their objects."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.store = store
        self.clock = clock
        self.resources = {(each.group, each.version, each.plural): each for each in builtin_resources()}
        store.listeners.append(self._serve_definition)

    def now(self) -> str:
        """The time of a write, as in metadata."""
        return timestamp(self.clock())

    def exists(self, resource: Resource, namespace: str, name: str) -> bool:
        """Whether there is such an object."""
        return self.store.get(resource.storage, (namespace, name)) is not None

    def get(self, resource: Resource, namespace: str, name: str) -> Version:
        """The current version; ApiError 404."""
        version = self.store.get(resource.storage, (namespace, name))
        if version is None:
            raise not_found(resource.group, resource.plural, name)
        return version

    def create(
        self, resource: Resource, namespace: str, body: Body, options: Options, *, own: Ownership = record_update
    ) -> Version:
        """Store a new object; `body` becomes the registry's own. `own` records in managedFields who wrote what."""
        open_envelope(resource, namespace, body)
        metadata = body["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + "".join(random.choices(SUFFIX, k=5))
        if resource.namespaced:
            metadata["namespace"] = namespace
            self._check_namespace(resource, namespace, metadata.get("name", ""))
        options.warnings += decode(resource, body, options.validation)
        if metadata.pop("resourceVersion", ""):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        for name in (*SYSTEM_FIELDS, "selfLink"):
            metadata.pop(name, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": self.now()}
        metadata |= {"generation": 1} if resource.generation else {}
        if resource.custom and resource.status:
            body.pop("status", None)
        if resource.kind == "Pod" and not resource.custom:
            self._admit_pod(namespace, body)
        complete(resource, body, None)
        existing = self.store.get(resource.storage, (metadata.get("namespace", ""), metadata["name"]))
        if existing:
            deleting = "deletionTimestamp" in existing.body["metadata"]
            raise already_exists(resource.group, resource.plural, metadata["name"], deleting=deleting)
        own(resource, None, body, options.manager, options.subresource, self.now())
        return self._commit(resource, body, dry_run=options.dry_run)

    def update(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Body], Body], options: Options,
        *, own: Ownership = record_update,
    ) -> Version:  # fmt: skip
        """Store `change(a copy of the object)`; what changes nothing keeps the version."""
        current = self.get(resource, namespace, name)
        old = current.body
        body = change(parse(b"{" + current.json))
        open_envelope(resource, namespace, body)
        metadata = body["metadata"]
        if metadata.setdefault("name", name) != name:
            names = f"({metadata['name']}) does not match the name on the URL ({name})"
            raise bad_request(f"the name of the object {names}")
        self._check_preconditions(resource, metadata, current)
        options.warnings += decode(resource, body, options.validation)
        _carry_over(old["metadata"], metadata)
        body = _keep_other_half(resource, old, body, options.subresource)
        complete(resource, body, old)
        own(resource, old, body, options.manager, options.subresource, self.now())
        if resource.generation and _content(resource, body) != _content(resource, old):
            body["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if "deletionTimestamp" in old["metadata"] and not _is_held(resource, body):
            return current if options.dry_run else self.store.remove(resource.storage, body)
        return current if body == old else self._commit(resource, body, dry_run=options.dry_run)

    def delete(self, resource: Resource, namespace: str, name: str, deletion: Deletion) -> tuple[Version, bool]:
        """The object's last state, and whether the answer shows it (else it is a bare success)."""
        current = self.get(resource, namespace, name)
        self._check_deletion(resource, current, deletion)
        body: Body = copy_json(current.body)
        metadata = body["metadata"]
        kept = [each for each in metadata.pop("finalizers", ()) if each not in ("orphan", "foregroundDeletion")]
        kept += {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(deletion.propagation or "", [])
        metadata |= {"finalizers": kept} if kept else {}
        grace, before = _grace(resource, body, deletion.grace), metadata.get("deletionGracePeriodSeconds")
        if (before is None or grace < before) and (resource.kind == "Pod" or _is_held(resource, body)):
            self._mark_deleted(resource, body, grace)
        if not _is_held(resource, body):
            last = current if deletion.dry_run else self.store.remove(resource.storage, body)
            return last, resource.kind in RETURNS_DELETED
        return (current if body == current.body else self._commit(resource, body, dry_run=deletion.dry_run)), True

    def _mark_deleted(self, resource: Resource, body: Body, grace: int) -> None:
        metadata = body["metadata"]
        start = self.clock()
        if "deletionTimestamp" in metadata:
            before = timedelta(seconds=metadata.get("deletionGracePeriodSeconds", 0))
            start = datetime.fromisoformat(metadata["deletionTimestamp"]) - before
        elif "generation" in metadata:
            metadata["generation"] += 1
        metadata["deletionTimestamp"] = timestamp(start + timedelta(seconds=grace))
        if resource.kind == "Namespace":
            body["status"] = {"phase": "Terminating"}
        else:
            metadata["deletionGracePeriodSeconds"] = grace

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self.store.get(NAMESPACES, ("", namespace))
        if found is None:
            raise not_found("", "namespaces", namespace)
        if "deletionTimestamp" in found.body["metadata"]:
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            message = f"namespace {namespace} is being terminated"
            cause = {"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"}
            raise forbidden(resource.group, resource.plural, name, why, causes=[cause])

    def _admit_pod(self, namespace: str, pod: Body) -> None:
        """What a pod refers to and can't be created without."""
        spec, name = pod.setdefault("spec", {}), pod["metadata"].get("name", "")
        priority = spec.get("priorityClassName")
        if priority:
            found = self.store.get(("scheduling.k8s.io", "priorityclasses"), ("", priority))
            if found is None:
                raise forbidden("", "pods", name, f"no PriorityClass with name {priority} was found")
            spec["priority"] = found.body["value"]
        account = spec.get("serviceAccountName") or "default"
        if account != "default" and self.store.get(("", "serviceaccounts"), (namespace, account)) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise forbidden("", "pods", name, why)

    def _check_preconditions(self, resource: Resource, metadata: Mapping[str, Any], current: Version) -> None:
        name, revision = current.key[1], metadata.get("resourceVersion") or "0"
        if revision not in ("0", str(current.revision)):
            raise conflict(resource.group, resource.plural, name, MODIFIED)
        if revision == "0" and (resource.custom or resource.kind in NEEDS_REVISION):
            text = "Invalid value: 0: must be specified for an update"
            error = FieldError("metadata.resourceVersion", "Invalid", text)
            raise invalid_object(resource.group, resource.plural, name, [error])
        uid = current.body["metadata"]["uid"]
        if metadata.get("uid", uid) != uid:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {uid}"
            raise conflict(resource.group, resource.plural, name, why)

    def _check_deletion(self, resource: Resource, current: Version, deletion: Deletion) -> None:
        if resource.kind == "Namespace" and current.key[1] in PROTECTED_NAMESPACES:
            raise forbidden("", "namespaces", current.key[1], "this namespace may not be deleted")
        uid, revision = current.body["metadata"]["uid"], str(current.revision)
        for what, wanted, found, so in (
            ("UID", deletion.uid, uid, RECREATED),
            ("ResourceVersion", deletion.revision, revision, "The object might have been modified"),
        ):
            if wanted not in (None, found):
                why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {so}"
                raise conflict(resource.group, resource.kind, current.key[1], why)

    def _commit(self, resource: Resource, body: Body, *, dry_run: bool) -> Version:
        if not dry_run:
            return self.store.put(resource.storage, body)
        metadata = {key: item for key, item in body["metadata"].items() if key != "resourceVersion"}
        return Version(body | {"metadata": metadata}, 0)

    def _serve_definition(self, resource: Key, change: Change) -> None:
        """Serve custom kinds as their definitions come, change and go."""
        if resource != CRDS:
            return
        for each in custom_resources(change.old.body) if change.old else ():
            self.resources.pop((each.group, each.version, each.plural), None)
        for each in () if change.deleted else custom_resources(change.new.body):
            self.resources[each.group, each.version, each.plural] = each


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as in metadata."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _carry_over(old: Mapping[str, Any], metadata: Body) -> None:
    """What a client can't write in an update stays as it is."""
    for name in (*SYSTEM_FIELDS, "namespace", "resourceVersion"):
        metadata.pop(name, None)
        if name in old:
            metadata[name] = old[name]


def _keep_other_half(resource: Resource, old: Body, body: Body, subresource: str) -> Body:
    """Through `status` nothing but the status can be written (built-in kinds let metadata through as well), and
    not through anything else.
    """
    if not resource.status:
        return body
    kept, written = (old, body) if subresource == "status" else (body, old)
    whole = {key: copy_json(item) for key, item in kept.items() if key != "status"}
    if subresource == "status" and not resource.custom:
        whole["metadata"] = body["metadata"]
    return whole | ({"status": copy_json(written["status"])} if "status" in written else {})


def _content(resource: Resource, body: Body) -> Body:
    """What `generation` counts changes of: all but metadata and, where it is a subresource, the status."""
    aside = ("metadata", "status") if resource.status else ("metadata",)
    return {key: item for key, item in body.items() if key not in aside}


def _is_held(resource: Resource, body: Body) -> bool:
    """Whether something must still happen before a deleted object can go."""
    metadata = body["metadata"]
    held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return bool(held or (resource.kind == "Namespace" and body["spec"].get("finalizers")))


def _grace(resource: Resource, body: Body, wanted: int | None) -> int:
    """Seconds: only pods that are on a node and not finished are deleted gracefully."""
    if resource.kind != "Pod" or "nodeName" not in body["spec"]:
        return 0
    if body.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(body["spec"]["terminationGracePeriodSeconds"] if wanted is None else wanted)
