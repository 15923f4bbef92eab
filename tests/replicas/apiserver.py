"""An API server in memory: objects with resourceVersions, their history for those who watch, and who wrote what.

Objects are shared with whoever reads them, and never changed.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from footplate.api.scalars import format_time
from footplate.errors import AlreadyExists, Conflict, NotFound
from footplate.machinery.resources import LEASES, PODS, TRAINING_JOBS, Resource, resource_of
from footplate.objects import Key, key_of, uid_of, version_of
from replicas.virtual import VirtualClock
from unit.machinery.support import START

JSON = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """One entry of the history."""

    version: int
    time: float
    event: JSON


class ApiServer:
    """`on_status` is told of each change of a job's status: the job before, and its new status."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.version = 100
        self.objects: defaultdict[str, dict[Key, JSON]] = defaultdict(dict)
        self.history: defaultdict[str, list[Change]] = defaultdict(list)
        self.news: set[asyncio.Event] = set()
        self.violations: list[str] = []
        self.on_status: Callable[[JSON, JSON], None] = lambda job, status: None
        self.takeovers = 0
        self._uids = 0

    @property
    def holder(self) -> str:
        [lease] = self.objects[LEASES.plural].values() or [{"spec": {}}]
        return str(lease["spec"].get("holderIdentity") or "")

    def get(self, resource: Resource, key: Key) -> JSON:
        try:
            return self.objects[resource.plural][key]
        except KeyError:
            raise NotFound(404, "NotFound", "/".join(key)) from None

    def all(self, resource: Resource) -> list[JSON]:
        return [*self.objects[resource.plural].values()]

    def create(self, manifest: Mapping[str, Any], *, who: str = "") -> JSON:
        self._check(who, resource_of(manifest), f"create {key_of(manifest)}")
        resource, key = resource_of(manifest), key_of(manifest)
        if key in self.objects[resource.plural]:
            raise AlreadyExists(409, "AlreadyExists", "/".join(key))
        obj = dict(manifest)
        self._uids += 1
        obj["metadata"] = {"uid": f"uid-{self._uids}", **obj["metadata"]}
        if resource == PODS:
            obj["status"] = {"phase": "Pending"}
            obj["metadata"]["creationTimestamp"] = self.timestamp()
        return self.put(resource, obj, "ADDED")

    def replace(self, resource: Resource, obj: Mapping[str, Any], *, who: str = "") -> JSON:
        if version_of(self.get(resource, key_of(obj))) != version_of(obj):
            raise Conflict(409, "Conflict", "changed")
        before, stored = self.holder, self.put(resource, dict(obj))
        self.takeovers += resource == LEASES and self.holder not in ("", before)
        return stored

    def patch_status(self, key: Key, patch: Mapping[str, Any], *, who: str = "") -> JSON:
        self._check(who, TRAINING_JOBS, f"status of {key}")
        job = self.get(TRAINING_JOBS, key)
        if version_of(job) != patch["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "changed")
        status = merge(job.get("status") or {}, patch["status"])
        self.on_status(job, status)
        return self.put(TRAINING_JOBS, {**job, "status": status})

    def delete(self, resource: Resource, key: Key, *, uid: str = "", who: str = "") -> JSON:
        self._check(who, resource, f"delete {key}")
        obj = self.get(resource, key)
        if uid and uid_of(obj) != uid:
            raise Conflict(409, "Conflict", "another UID")
        grace = (obj.get("spec") or {}).get("terminationGracePeriodSeconds", 0)
        ended = (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if resource == PODS and obj["spec"].get("nodeName") and grace and not ended:
            if obj["metadata"].get("deletionTimestamp") is None:
                gone = {"deletionTimestamp": self.timestamp(grace), "deletionGracePeriodSeconds": grace}
                obj = self.put(PODS, {**obj, "metadata": {**obj["metadata"], **gone}})
            return obj
        self.remove(resource, key)
        return {"kind": "Status"}

    def put(self, resource: Resource, obj: JSON, type_: str = "MODIFIED") -> JSON:
        """Stores a new version, whoever wrote it."""
        self.version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self.version)}}
        self.objects[resource.plural][key_of(obj)] = obj
        self._tell(resource, type_, obj)
        return obj

    def remove(self, resource: Resource, key: Key) -> None:
        """It is gone at once."""
        obj = self.objects[resource.plural].pop(key)
        self.version += 1
        metadata = {**obj["metadata"], "resourceVersion": str(self.version)}
        self._tell(resource, "DELETED", {**obj, "metadata": metadata})

    def since(self, resource: Resource, version: int) -> list[Change]:
        """What a watch would still have to show."""
        history = self.history[resource.plural]
        return history[bisect_right(history, version, key=lambda change: change.version) :]

    def timestamp(self, seconds: float = 0.0) -> str:
        return format_time(START + timedelta(seconds=self._clock.monotonic() + seconds))

    def _tell(self, resource: Resource, type_: str, obj: JSON) -> None:
        event = {"type": type_, "object": obj}
        self.history[resource.plural].append(Change(self.version, self._clock.monotonic(), event))
        for news in self.news:
            news.set()

    def _check(self, who: str, resource: Resource, what: str) -> None:
        if who and resource != LEASES and who != self.holder:
            self.violations.append(f"{self._clock.monotonic():.1f}: {who} wrote ({what}) while {self.holder!r} leads")


def merge(target: JSON, patch: Mapping[str, Any]) -> JSON:
    """A JSON merge patch."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            old = result.get(key)
            result[key] = merge(old if isinstance(old, dict) else {}, value)
        else:
            result[key] = value
    return result
