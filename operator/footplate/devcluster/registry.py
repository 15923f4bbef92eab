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

from footplate.devcluster.builtin import CHECKS, DEFAULTS, NEEDS_REVISION, RETURNS_DELETED, check_metadata
from footplate.devcluster.cel import Rules, collect_rules
from footplate.devcluster.errors import (
    ApiError,
    FieldError,
    already_exists,
    bad_request,
    conflict,
    forbidden,
    forbidden_field,
    invalid,
    invalid_object,
    not_found,
)
from footplate.devcluster.ownership import record_update
from footplate.devcluster.resources import Resource, builtin_resources, custom_resources
from footplate.devcluster.schema import decode_builtin, fill_defaults, find_unknown, validate
from footplate.devcluster.store import Body, Change, Key, Store, Version
from footplate.devcluster.values import copy_json, parse

PROTECTED = ("default", "kube-system", "kube-public")
CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
SYSTEM_FIELDS = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"
Ownership = Callable[[Resource, Body | None, Body, str, str, str], None]
SUFFIX = "bcdfghjklmnpqrstvwxz2456789"


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
    """DeleteOptions."""

    grace: int | None = None
    propagation: str | None = None
    uid: str | None = None
    revision: str | None = None
    dry_run: bool = False


def timestamp(moment: datetime) -> str:
    """RFC 3339 in whole seconds, as in metadata."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Registry:
    """All served resources and their objects."""

    def __init__(self, store: Store, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.store = store
        self.clock = clock
        self.resources: dict[tuple[str, str, str], Resource] = {}
        self._rules: dict[Resource, Rules | None] = {}
        for resource in builtin_resources():
            self.resources[resource.group, resource.version, resource.plural] = resource
        store.listeners.append(self._serve_definition)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource served under a path."""
        return self.resources.get((group, version, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """The resource of an apiVersion and kind, as in ownerReferences."""
        found = (each for each in self.resources.values() if (each.api_version, each.kind) == (api_version, kind))
        return next(found, None)

    def get(self, resource: Resource, namespace: str, name: str) -> Version:
        """The current version; ApiError 404."""
        version = self.store.get(resource.storage, (namespace, name))
        if version is None:
            raise not_found(resource.group, resource.plural, name)
        return version

    def create(
        self, resource: Resource, namespace: str, body: Body, options: Options, *, own: Ownership = record_update
    ) -> Version:
        """Store a new object; `body` becomes the registry's own."""
        metadata = body.setdefault("metadata", {})
        self._check_envelope(resource, namespace, body)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + "".join(random.choices(SUFFIX, k=5))  # noqa: S311
        if resource.namespaced:
            metadata["namespace"] = namespace
            self._check_namespace(resource, namespace, metadata.get("name", ""))
        self._decode(resource, body, options)
        if metadata.pop("resourceVersion", ""):
            raise ApiError(500, "", "resourceVersion should not be set on objects to be created")
        for name in (*SYSTEM_FIELDS, "selfLink"):
            metadata.pop(name, None)
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(self.clock())}
        metadata |= {"generation": 1} if resource.generation else {}
        if resource.custom and resource.status:
            body.pop("status", None)
        if resource.kind == "Pod" and not resource.custom:
            self._admit_pod(namespace, body)
        self._complete(resource, body, None)
        existing = self.store.get(resource.storage, (metadata.get("namespace", ""), metadata["name"]))
        if existing:
            deleting = "deletionTimestamp" in existing.body["metadata"]
            raise already_exists(resource.group, resource.plural, metadata["name"], deleting=deleting)
        own(resource, None, body, options.manager, options.subresource, self.now())
        return self._commit(resource, body, options.dry_run)

    def update(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Body], Body], options: Options,
        *, own: Ownership = record_update,
    ) -> Version:  # fmt: skip
        """Store `change(copy of the object)`; `own` records in managedFields who wrote what."""
        current = self.get(resource, namespace, name)
        old = current.body
        body = change(parse(b"{" + current.json))
        metadata = body.setdefault("metadata", {})
        self._check_envelope(resource, namespace, body)
        if metadata.setdefault("name", name) != name:
            raise bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        self._check_preconditions(resource, metadata, current)
        self._decode(resource, body, options)
        metadata |= {"namespace": namespace} if resource.namespaced else {}
        _carry_over(old["metadata"], metadata)
        if options.subresource == "status":
            body = _only_status(resource, old, body)
        elif resource.status and not (resource.custom and "status" not in old):
            body = {key: item for key, item in body.items() if key != "status"}
            body |= {"status": old["status"]} if "status" in old else {}
        self._complete(resource, body, old)
        own(resource, old, body, options.manager, options.subresource, self.now())
        if resource.generation and _content(resource, body) != _content(resource, old):
            body["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        if body["metadata"].get("deletionTimestamp") and not _held(body):
            return current if options.dry_run else self._finish(resource, body)
        if body == old:
            return current
        return self._commit(resource, body, options.dry_run)

    def delete(self, resource: Resource, namespace: str, name: str, deletion: Deletion) -> tuple[Version, bool]:
        """The object's last state, and whether the answer shows it (else it is a bare success)."""
        current = self.get(resource, namespace, name)
        self._check_deletion(resource, current, deletion)
        body: Body = copy_json(current.body)
        metadata = body["metadata"]
        finalizers = [each for each in metadata.get("finalizers", ()) if each not in ("orphan", "foregroundDeletion")]
        extra = {"Foreground": ["foregroundDeletion"], "Orphan": ["orphan"]}.get(deletion.propagation or "", [])
        metadata["finalizers"] = finalizers + extra
        if not metadata["finalizers"]:
            del metadata["finalizers"]
        grace = _grace(resource, body, deletion.grace)
        before = metadata.get("deletionGracePeriodSeconds")
        if (before is None or grace < before) and (resource.kind == "Pod" or _held(body)):
            self._mark_deleted(resource, body, grace, first="deletionTimestamp" not in metadata)
        if not _held(body):
            return (current if deletion.dry_run else self._finish(resource, body)), resource.kind in RETURNS_DELETED
        return (current if body == current.body else self._commit(resource, body, deletion.dry_run)), True

    def _mark_deleted(self, resource: Resource, body: Body, grace: int, *, first: bool) -> None:
        metadata = body["metadata"]
        start = self.clock() if first else datetime.fromisoformat(metadata["deletionTimestamp"])
        if not first:
            start -= timedelta(seconds=metadata["deletionGracePeriodSeconds"])
        metadata["deletionTimestamp"] = timestamp(start + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if first and "generation" in metadata:
            metadata["generation"] += 1
        if resource.kind == "Namespace":
            del metadata["deletionGracePeriodSeconds"]
            body["status"] = {"phase": "Terminating"}

    def _check_envelope(self, resource: Resource, namespace: str, body: Body) -> None:
        """Take `apiVersion` and `kind` off the body, which must match the URL, as must the namespace."""
        version, kind = body.pop("apiVersion", resource.api_version), body.pop("kind", resource.kind)
        if version != resource.api_version:
            raise bad_request(
                f"the API version in the data ({version}) does not match the expected API version ({resource.api_version})"
            )
        if kind != resource.kind:
            error = invalid("kind", kind, f"must be {resource.kind}")
            raise invalid_object(resource.group, kind, body.get("metadata", {}).get("name", ""), [error])
        if resource.namespaced and (body["metadata"].get("namespace") or namespace) != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")

    def _check_namespace(self, resource: Resource, namespace: str, name: str) -> None:
        found = self.store.get(("", "namespaces"), ("", namespace))
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
            if found is None and not priority.startswith("system-"):
                raise forbidden("", "pods", name, f"no PriorityClass with name {priority} was found")
            spec["priority"] = found.body["value"] if found else 2_000_000_000
        account = spec.get("serviceAccountName") or "default"
        if account != "default" and self.store.get(("", "serviceaccounts"), (namespace, account)) is None:
            why = f'error looking up service account {namespace}/{account}: serviceaccount "{account}" not found'
            raise forbidden("", "pods", name, why)

    def _check_preconditions(self, resource: Resource, metadata: Mapping[str, Any], current: Version) -> None:
        name = current.key[1]
        revision = metadata.get("resourceVersion")
        if revision not in (None, "", "0", str(current.revision)):
            raise conflict(resource.group, resource.plural, name, MODIFIED)
        if revision in (None, "", "0") and (resource.custom or resource.kind in NEEDS_REVISION):
            error = FieldError(
                "metadata.resourceVersion", "Invalid", "Invalid value: 0: must be specified for an update"
            )
            raise invalid_object(resource.group, resource.plural, name, [error])
        uid = current.body["metadata"]["uid"]
        if metadata.get("uid", uid) != uid:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {uid}"
            raise conflict(resource.group, resource.plural, name, why)

    def _check_deletion(self, resource: Resource, current: Version, deletion: Deletion) -> None:
        if resource.kind == "Namespace" and current.key[1] in PROTECTED:
            raise forbidden("", "namespaces", current.key[1], "this namespace may not be deleted")
        uid = current.body["metadata"]["uid"]
        pairs = (("UID", deletion.uid, uid), ("ResourceVersion", deletion.revision, str(current.revision)))
        for what, wanted, found in pairs:
            if wanted not in (None, found):
                why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). "
                why += (
                    "The object might have been deleted and then recreated"
                    if what == "UID"
                    else "The object might have been modified"
                )
                raise conflict(resource.group, resource.kind, current.key[1], why)

    def _decode(self, resource: Resource, body: Body, options: Options) -> None:
        """Drop unknown fields, and refuse or warn of them; refuse wrong types of built-in kinds."""
        prefix = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}: '
        try:
            if not resource.custom:
                decode_builtin(body, resource.schema, "", resource.kind)
        except ApiError as error:
            raise bad_request(prefix + error.message) from error
        unknown = list(find_unknown(body, resource.schema))
        if resource.custom:
            unknown.sort(key=lambda path: (not path.startswith("metadata."), "." not in path, path))
        texts = [f'unknown field "{path}"' for path in unknown]
        if texts and options.validation == "Strict":
            raise bad_request(f"{prefix}strict decoding error: {', '.join(texts)}")
        if options.validation == "Warn":
            options.warnings += texts

    def _complete(self, resource: Resource, body: Body, old: Body | None) -> None:
        """Defaults, then every rule there is for the object."""
        metadata = body["metadata"]
        for name in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
            if name in metadata and not metadata[name]:
                del metadata[name]
        if resource.custom:
            fill_defaults(body, resource.schema)
        errors = list(check_metadata(metadata, resource.kind))
        if old is not None:
            errors += _check_finalizers(metadata, old["metadata"])
        try:
            DEFAULTS.get(resource.kind, lambda _body, _old: None)(body, old) if not resource.custom else None
        except (KeyError, TypeError, AttributeError):
            pass  # a required part is missing: validation says which
        if resource.custom and resource not in self._rules:
            self._rules[resource] = collect_rules(resource.schema)
        errors = validate(body, old, resource.schema, rules=self._rules.get(resource), known=errors)
        if not errors and not resource.custom and resource.kind in CHECKS:
            errors += CHECKS[resource.kind](body, old)
        if errors:
            raise invalid_object(resource.group, resource.kind, metadata.get("name", ""), errors)

    def _commit(self, resource: Resource, body: Body, dry_run: bool) -> Version:
        if dry_run:
            metadata = {key: item for key, item in body["metadata"].items() if key != "resourceVersion"}
            return Version(body | {"metadata": metadata}, 0)
        return self.store.put(resource.storage, body)

    def _finish(self, resource: Resource, body: Body) -> Version:
        return self.store.remove(resource.storage, body)

    def now(self) -> str:
        return timestamp(self.clock())

    def _serve_definition(self, resource: Key, change: Change) -> None:
        """Serve custom kinds as their definitions come, change and go."""
        if resource != CRDS:
            return
        for each in custom_resources(change.old.body) if change.old else ():
            self.resources.pop((each.group, each.version, each.plural), None)
        for each in () if change.deleted else custom_resources(change.new.body):
            self.resources[each.group, each.version, each.plural] = each


def _carry_over(old: Mapping[str, Any], metadata: Body) -> None:
    """What a client can't write in an update stays as it is."""
    for name in SYSTEM_FIELDS:
        metadata.pop(name, None)
        if name in old:
            metadata[name] = old[name]
    metadata["resourceVersion"] = old["resourceVersion"]


def _only_status(resource: Resource, old: Body, body: Body) -> Body:
    """The stored object with the new status. Built-in kinds let labels and annotations through as well."""
    kept = {key: item for key, item in copy_json(old).items() if key != "status"}
    kept |= {} if resource.custom else {"metadata": body["metadata"]}
    return kept | ({"status": body["status"]} if "status" in body else {})


def _content(resource: Resource, body: Body) -> Body:
    """What `generation` counts changes of: all but metadata and, where it is a subresource, the status."""
    aside = ("metadata", "status") if resource.status else ("metadata",)
    return {key: item for key, item in body.items() if key not in aside}


def _held(body: Body) -> bool:
    """Whether something must still happen before a deleted object can go."""
    metadata = body["metadata"]
    waiting = metadata.get("finalizers") or body.get("spec", {}).get("finalizers")
    return bool(waiting) or bool(metadata.get("deletionGracePeriodSeconds"))


def _grace(resource: Resource, body: Body, wanted: int | None) -> int:
    """Seconds: only pods that are on a node and not finished are deleted gracefully."""
    if resource.kind != "Pod" or "nodeName" not in body["spec"]:
        return 0
    if body.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    return int(body["spec"]["terminationGracePeriodSeconds"] if wanted is None else wanted)


def _check_finalizers(metadata: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    added = [each for each in metadata.get("finalizers", ()) if each not in old.get("finalizers", ())]
    if not added or "deletionTimestamp" not in old:
        return []
    names = ", ".join(f'"{each}"' for each in added)
    why = f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{names}}}"
    return [forbidden_field("metadata.finalizers", why)]
