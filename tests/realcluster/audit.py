"""Who asked a kube-apiserver for what: its audit log, and what RBAC rules grant, in the same terms."""

import json
from collections.abc import Iterable, Mapping
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
