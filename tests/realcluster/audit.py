"""Who asked a kube-apiserver for what: its audit log, and what RBAC rules grant, in the same terms."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}],
}
"""Every request of a ServiceAccount, none of its contents; a watch is there from its first answer."""


class Right(NamedTuple):
    """One verb on one resource, such as `("", "pods", "list")`; a subresource is part of the resource's name."""

    group: str
    resource: str
    verb: str


class Asked(NamedTuple):
    """One request for an object or a collection."""

    right: Right
    namespace: str
    name: str
    code: int
    agent: str


class Written(NamedTuple):
    """One write that was done, from its receipt to its answer."""

    user: str
    verb: str
    resource: str
    name: str
    received: datetime
    answered: datetime


WRITES = ("create", "update", "patch", "delete")


def read_audit_log(path: Path, *, user: str) -> list[Asked]:
    """The requests of a user, in the order of their answers. Discovery isn't among them, nor what one may oneself, as
    `helm test` asks with the operator's account: everybody may ask that.
    """
    with path.open() as lines:
        events = [json.loads(line) for line in lines if line.endswith("\n")]
    wanted = (event for event in events if event["user"]["username"] == user and "objectRef" in event)
    asked = [_asked(event) for event in wanted if not _ends_a_watch(event)]
    return [each for each in asked if each.right.resource != "selfsubjectaccessreviews"]


def rights(rules: Iterable[Mapping[str, Any]]) -> set[Right]:
    """What the rules of a Role or ClusterRole grant, one by one."""
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def _ends_a_watch(event: Mapping[str, Any]) -> bool:
    """A watch is in the log twice: when it was granted, and when it ended."""
    what = event["verb"], event["stage"], event["responseStatus"]["code"]
    return what == ("watch", "ResponseComplete", 200)


def _asked(event: Mapping[str, Any]) -> Asked:
    target = event["objectRef"]
    resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
    right = Right(target.get("apiGroup", ""), resource, event["verb"])
    code = event["responseStatus"]["code"]
    return Asked(right, target.get("namespace", ""), target.get("name", ""), code, event.get("userAgent", ""))


def read_writes(path: Path, *, users: Iterable[str]) -> list[Written]:
    """What these users wrote, and were let to, in the order in which it came."""
    with path.open() as lines:
        events = [json.loads(line) for line in lines if line.endswith("\n")]
    found = [
        Written(
            event["user"]["username"],
            event["verb"],
            event["objectRef"]["resource"],
            event["objectRef"].get("name", ""),
            datetime.fromisoformat(event["requestReceivedTimestamp"]),
            datetime.fromisoformat(event["stageTimestamp"]),
        )
        for event in events
        if event["user"]["username"] in set(users) and event["verb"] in WRITES and "objectRef" in event
        if event["responseStatus"]["code"] < 300
    ]
    return sorted(found, key=lambda each: each.received)


def outside(writes: Sequence[Written]) -> list[str]:
    """Writes of one user who wasn't the last to have written the lease, all the time from receipt to answer."""
    claims = [each for each in writes if each.resource == "leases"]
    found = []
    for each in (each for each in writes if each.resource != "leases"):
        own = [claim.received for claim in claims if claim.user == each.user and claim.received <= each.received]
        since = max(own, default=None)
        others = [c for c in claims if c.user != each.user and since and since < c.received < each.answered]
        if since is None or others:
            found.append(f"{each} though {others[:1] or 'it never held the lease'}")
    return found
