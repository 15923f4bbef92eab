"""What Kubernetes adds to and demands of each built-in kind, as far as our code, kubectl and controllers see it.

`DEFAULTS` and `CHECKS` hold one function a kind. Defaults change the object in place; `old` is the stored
object, or None on create.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from footplate.devcluster.errors import FieldError, bad_request, forbidden_field, invalid, required
from footplate.devcluster.names import check_key
from footplate.devcluster.pods import check_pod, default_pod, default_pod_spec

Body = dict[str, Any]
BAD_CONFIG_KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"  # noqa: E501
PROTECTED_NAMESPACES = {"default", "kube-system", "kube-public"}
# Pods, Services, ServiceAccounts answer a DELETE with the object even when it is gone at once.
RETURNS_DELETED = {"Pod", "Service", "ServiceAccount", "PersistentVolumeClaim"}
EVENT_ZEROS: Mapping[str, Any] = {"involvedObject": {}, "source": {}, "firstTimestamp": None, "lastTimestamp": None,
                                  "eventTime": None, "reportingComponent": "", "reportingInstance": ""}  # fmt: skip
# A PUT without resourceVersion overwrites whatever is there, except for these and custom kinds.
NEEDS_REVISION = {"Lease", "CustomResourceDefinition", "Deployment"}


def default_service(service: Body, _: Body | None) -> None:
    """A Service's type, ports and address; devcluster gives out no cluster IPs of its own but one."""
    spec = service.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    spec.setdefault("clusterIP", "10.0.0.10")
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    for port in spec.get("ports", ()):
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    service.setdefault("status", {"loadBalancer": {}})


def default_namespace(namespace: Body, old: Body | None) -> None:
    """The name as a label, and the phase."""
    metadata = namespace["metadata"]
    metadata["labels"] = (metadata.get("labels") or {}) | {"kubernetes.io/metadata.name": metadata["name"]}
    if old is None:
        namespace["spec"] = {"finalizers": ["kubernetes"]}
        namespace["status"] = {"phase": "Active"}


def default_secret(secret: Body, _: Body | None) -> None:
    """`stringData` becomes `data`."""
    for name, text in secret.pop("stringData", {}).items():
        secret.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()
    secret.setdefault("type", "Opaque")
    for value in secret.get("data", {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            why = "illegal base64 data at input byte 0"
            raise bad_request(f'Secret in version "v1" cannot be handled as a Secret: {why}') from error


def default_claim(claim: Body, old: Body | None) -> None:
    """A claim is pending until something binds it."""
    claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    if old is None:
        claim["status"] = {"phase": "Pending"}


def default_deployment(deployment: Body, old: Body | None) -> None:
    """Stored only: no controller makes pods of it."""
    spec = deployment.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    spec.setdefault(
        "strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    )
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_pod_spec(spec["template"].setdefault("spec", {}))
    if old is None:
        deployment["status"] = {}


def default_event(event: Body, _: Body | None) -> None:
    """The zero values that both faces of an event show."""
    for name, value in EVENT_ZEROS.items():
        event.setdefault(name, value)


def default_definition(definition: Body, _: Body | None) -> None:
    """A CustomResourceDefinition is served from the moment it is stored."""
    spec = definition["spec"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", f"{names['kind']}List")
    spec.setdefault("conversion", {"strategy": "None"})
    status = definition.get("status") or {}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    texts = (("NamesAccepted", "NoConflicts", "no conflicts found"),
             ("Established", "InitialNamesAccepted", "the initial names have been accepted"))  # fmt: skip
    made = [
        {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
        for kind, reason, message in texts
    ]
    stored = [version["name"] for version in spec["versions"] if version["storage"]]
    definition["status"] = {
        "conditions": status.get("conditions") or made, "acceptedNames": dict(names), "storedVersions": stored,
    }  # fmt: skip


def check_config_map(config: Body, old: Body | None) -> Iterator[FieldError]:
    """Keys, and the immutability that the object asked for."""
    for part in ("data", "binaryData"):
        for key in config.get(part) or {}:
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", key):
                yield invalid(f"{part}[{key}]", key, BAD_CONFIG_KEY)
        if old and old.get("immutable") and config.get(part) != old.get(part):
            yield forbidden_field(part, "field is immutable when `immutable` is set")


def check_lease(lease: Body, _: Body | None) -> Iterator[FieldError]:
    """Durations are positive."""
    duration = lease.get("spec", {}).get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid("spec.leaseDurationSeconds", duration, "must be greater than 0")


def check_definition(definition: Body, _: Body | None) -> Iterator[FieldError]:
    """Its name says what it defines."""
    spec = definition["spec"]
    name = f"{spec['names']['plural']}.{spec['group']}"
    if definition["metadata"]["name"] != name:
        yield invalid("metadata.name", definition["metadata"]["name"], 'must be spec.names.plural+"."+spec.group')


def check_event(event: Body, _: Body | None) -> Iterator[FieldError]:
    """The rules of events.k8s.io, which an event with `eventTime` is held to; else only those of old events."""
    if not event.get("eventTime"):
        about = event.get("involvedObject", {}).get("namespace") or event["metadata"]["namespace"]
        if about != event["metadata"]["namespace"]:
            yield invalid("involvedObject.namespace", about, "does not match event.namespace")
        return
    for name, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128), ("message", 1024)):
        if not event.get(name) and name != "message":
            yield required(name)
        if len(event.get(name, "")) > limit:
            yield invalid(name, "", f"can have at most {limit} characters")
    if not event.get("reportingComponent"):
        yield required("reportingController")
    yield from check_key("reportingController", event.get("reportingComponent", ""))
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {event.get('type', '')}")
    for name in ("firstTimestamp", "lastTimestamp", "count"):
        if event.get(name):
            yield invalid(name, "", "needs to be unset")
    if event.get("series") and event["series"].get("count", 0) < 2:
        yield invalid("series.count", "", "should be at least 2")


DEFAULTS: Mapping[str, Callable[[Body, Body | None], None]] = {
    "Pod": default_pod,
    "Service": default_service,
    "Namespace": default_namespace,
    "Secret": default_secret,
    "PersistentVolumeClaim": default_claim,
    "Deployment": default_deployment,
    "Event": default_event,
    "CustomResourceDefinition": default_definition,
}
CHECKS: Mapping[str, Callable[[Body, Body | None], Iterator[FieldError]]] = {
    "Pod": check_pod,
    "ConfigMap": check_config_map,
    "Secret": check_config_map,
    "Lease": check_lease,
    "Event": check_event,
    "CustomResourceDefinition": check_definition,
}
