"""What Kubernetes adds to and demands of each built-in kind, as far as our code, kubectl and controllers see it.

`DEFAULTS` and `CHECKS` hold one function a kind. Defaults change the object in place; `old` is the stored
object, or None on create.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from footplate.devcluster.errors import (
    FieldError,
    bad_request,
    duplicate,
    forbidden_field,
    invalid,
    required,
    unsupported,
)
from footplate.devcluster.values import parse_quantity, quote

Body = dict[str, Any]
LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
BAD_LABEL = f"a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{LABEL}')"  # noqa: E501
BAD_SUBDOMAIN = f"a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{SUBDOMAIN}')"  # noqa: E501
BAD_KEY = f"name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{NAME_PART}')"  # noqa: E501
BAD_VALUE = f"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({NAME_PART})?')"  # noqa: E501
BAD_CONFIG_KEY = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"  # noqa: E501
BAD_VARIABLE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
POD_UPDATES = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"  # noqa: E501
NOT_READY = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for what in ("not-ready", "unreachable")
]
# Pods, Services, ServiceAccounts answer a DELETE with the object even when it is gone at once.
RETURNS_DELETED = {"Pod", "Service", "ServiceAccount", "PersistentVolumeClaim"}
EVENT_ZEROS: Mapping[str, Any] = {"involvedObject": {}, "source": {}, "firstTimestamp": None, "lastTimestamp": None,
                                  "eventTime": None, "reportingComponent": "", "reportingInstance": ""}  # fmt: skip
# A PUT without resourceVersion overwrites whatever is there, except for these and custom kinds.
NEEDS_REVISION = {"Lease", "CustomResourceDefinition", "Deployment"}
STANDARD_FINALIZERS = {"foregroundDeletion", "orphan", "kubernetes"}
PATH_SEGMENT_NAMES = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def check_metadata(metadata: Mapping[str, Any], kind: str) -> Iterator[FieldError]:
    """The rules for names, labels and annotations of every object."""
    name = metadata.get("name", "")
    if not name:
        yield required("metadata.name", "name or generateName is required")
    elif kind == "Namespace":
        if "." in name:
            yield invalid("metadata.name", name, "must not contain dots")
        else:
            yield from check_name("metadata.name", name, LABEL, BAD_LABEL, 63)
    elif kind not in PATH_SEGMENT_NAMES:
        yield from check_name("metadata.name", name, SUBDOMAIN, BAD_SUBDOMAIN, 253)
    for key, value in (metadata.get("labels") or {}).items():
        yield from _check_key("metadata.labels", key)
        yield from check_name("metadata.labels", value, f"({NAME_PART})?", BAD_VALUE, 63)
    for index, finalizer in enumerate(metadata.get("finalizers") or ()):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, why)
    yield from _check_owners(metadata.get("ownerReferences") or ())
    for key in metadata.get("annotations") or {}:
        yield from _check_key("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in (metadata.get("annotations") or {}).items()) > 256 * 1024:
        yield FieldError("metadata.annotations", "TooLong", "Too long: may not be more than 262144 bytes")


def _check_owners(references: Sequence[Mapping[str, Any]]) -> Iterator[FieldError]:
    for reference in references:
        for part in ("apiVersion", "kind", "name", "uid"):
            if not reference.get(part):
                why = "version must not be empty" if part == "apiVersion" else "must not be empty"
                yield invalid(f"metadata.ownerReferences.{part}", "", why)
    controllers = [f"{each.get('kind')}/{each.get('name')}" for each in references if each.get("controller")]
    if len(controllers) > 1:
        found = f'Found "true" in references for {" and ".join(controllers[:2])}'
        why = f"Only one reference can have Controller set to true. {found}"
        yield invalid("metadata.ownerReferences", references, why)


def check_name(path: str, name: str, pattern: str, why: str, limit: int) -> Iterator[FieldError]:
    """A name must match in full and be no longer than `limit`."""
    if len(name) > limit:
        unit = "bytes" if limit == 63 else "characters"
        yield invalid(path, name, f"must be no more than {limit} {unit}")
    if not re.fullmatch(pattern, name):
        yield invalid(path, name, why)


def _check_key(path: str, key: str) -> Iterator[FieldError]:
    prefix, slash, name = key.rpartition("/")
    if slash and not re.fullmatch(SUBDOMAIN, prefix):
        yield invalid(path, key, f"prefix part {BAD_SUBDOMAIN}")
    if not name:
        yield invalid(path, key, "name part must be non-empty")
    if not re.fullmatch(NAME_PART, name):
        yield invalid(path, key, BAD_KEY)
    if len(name) > 63:
        yield invalid(path, key, "name part must be no more than 63 bytes")


def default_pod(pod: Body, old: Body | None) -> None:
    """The defaults that controllers, kubelets and kubectl rely on."""
    spec = pod["spec"]
    default_pod_spec(spec)
    tolerations = spec.setdefault("tolerations", [])
    known = {toleration.get("key") for toleration in tolerations}
    tolerations.extend(dict(each) for each in NOT_READY if each["key"] not in known)
    for name, value in (("priority", 0), ("enableServiceLinks", True), ("preemptionPolicy", "PreemptLowerPriority")):
        spec.setdefault(name, value)
    if old is None:
        pod["status"] = {"phase": "Pending", "qosClass": _quality(spec)}


def default_pod_spec(spec: Body) -> None:
    """The defaults of a pod or a pod template."""
    for name, value in (
        ("restartPolicy", "Always"), ("terminationGracePeriodSeconds", 30), ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
    ):  # fmt: skip
        spec.setdefault(name, value)
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    spec.setdefault("securityContext", {})
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in [*spec.get("initContainers", ()), *spec.get("containers", ())]:
        _default_container(container)
    for volume in spec.get("volumes", ()):
        for kind in ("configMap", "secret", "projected", "downwardAPI"):
            if kind in volume:
                volume[kind].setdefault("defaultMode", 420)
        if "hostPath" in volume:
            volume["hostPath"].setdefault("type", "")


def _default_container(container: Body) -> None:
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition(":")[2]
    pull = "Always" if tag in ("", "latest") and "@" not in image else "IfNotPresent"
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    container.setdefault("imagePullPolicy", pull)
    resources = container["resources"]
    for kind in ("limits", "requests"):
        if resources.get(kind):
            resources[kind] = {name: str(amount) for name, amount in resources[kind].items()}
    if resources.get("limits"):
        resources["requests"] = resources["limits"] | resources.get("requests", {})
    for port in container.get("ports", ()):
        port.setdefault("protocol", "TCP")
    for variable in container.get("env", ()):
        if "fieldRef" in variable.get("valueFrom", {}):
            variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
    for probe in (container[name] for name in ("livenessProbe", "readinessProbe", "startupProbe") if name in container):
        numbers = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
        probe.update({name: value for name, value in numbers.items() if name not in probe})
        if "httpGet" in probe:
            probe["httpGet"] = {"path": "/", "scheme": "HTTP"} | probe["httpGet"]


def _quality(spec: Body) -> str:
    resources = [container["resources"] for container in spec.get("containers", ())]
    if not any(each.get("requests") for each in resources):
        return "BestEffort"
    whole = all(
        {"cpu", "memory"} <= each.get("limits", {}).keys() and each["limits"] == each["requests"] for each in resources
    )
    return "Guaranteed" if whole else "Burstable"


def check_pod(pod: Body, old: Body | None) -> Iterator[FieldError]:
    """A pod's containers and what may change in it."""
    spec = pod["spec"]
    if old is not None and _fixed(spec) != _fixed(old["spec"]):
        yield forbidden_field("spec", POD_UPDATES)
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            yield from check_name(f"spec.{name}", spec[name], LABEL, BAD_LABEL, 63)
    if not spec.get("containers"):
        yield required("spec.containers")
    if spec["restartPolicy"] not in ("Always", "OnFailure", "Never"):
        yield unsupported("spec.restartPolicy", spec["restartPolicy"], ("Always", "OnFailure", "Never"))
    for kind in ("volumes", "containers"):
        names: set[str] = set()
        for index, item in enumerate(spec.get(kind, ())):
            path = f"spec.{kind}[{index}].name"
            if item["name"] in names:
                yield duplicate(path, item["name"])
            yield from check_name(path, item["name"], LABEL, BAD_LABEL, 63)
            names.add(item["name"])
    volumes = {volume["name"] for volume in spec.get("volumes", ())}
    for index, container in enumerate(spec.get("containers", ())):
        yield from _check_container(container, f"spec.containers[{index}]", volumes)


def _fixed(spec: Body) -> Body:
    """The part of a pod's spec that nobody may change; `nodeName` is set through a binding."""
    free = {"activeDeadlineSeconds", "tolerations", "schedulingGates"}
    images = [
        [{**container, "image": ""} for container in spec.get(kind, ())] for kind in ("initContainers", "containers")
    ]
    fixed = {name: value for name, value in spec.items() if name not in free}
    return fixed | {"initContainers": images[0], "containers": images[1]}


def _check_container(container: Body, path: str, volumes: set[str]) -> Iterator[FieldError]:
    if not container.get("image"):
        yield required(f"{path}.image")
    for index, variable in enumerate(container.get("env", ())):
        where = f"{path}.env[{index}]"
        if not variable["name"]:
            yield required(f"{where}.name")
        elif not re.fullmatch(r"[ -<>-~]+", variable["name"]):
            yield invalid(f"{where}.name", variable["name"], BAD_VARIABLE)
        if variable.get("value") and "valueFrom" in variable:
            yield invalid(f"{where}.valueFrom", "", "may not be specified when `value` is not empty")
    paths: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts", ())):
        where = f"{path}.volumeMounts[{index}]"
        if mount["name"] not in volumes:
            yield FieldError(f"{where}.name", "NotFound", f"Not found: {quote(mount['name'])}")
        if not mount["mountPath"]:
            yield required(f"{where}.mountPath")
        elif mount["mountPath"] in paths:
            yield invalid(f"{where}.mountPath", mount["mountPath"], "must be unique")
        paths.add(mount["mountPath"])
    yield from _check_amounts(container, path)


def _check_amounts(container: Body, path: str) -> Iterator[FieldError]:
    requests, limits = (container["resources"].get(kind, {}) for kind in ("requests", "limits"))
    for name, amount in requests.items():
        if "/" in name and name not in limits:
            why = "Limit must be set for non overcommitable resources"
            yield required(f"{path}.resources.limits", why)
        elif name in limits and (parse_quantity(amount) or 0) > (parse_quantity(limits[name]) or 0):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid(f"{path}.resources.requests", str(amount), why)


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
    claim["spec"].setdefault("volumeMode", "Filesystem")
    if old is None:
        claim["status"] = {"phase": "Pending"}


def default_deployment(deployment: Body, old: Body | None) -> None:
    """Stored only: no controller makes pods of it."""
    spec = deployment["spec"]
    spec.setdefault("replicas", 1)
    spec.setdefault(
        "strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    )
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    default_pod_spec(spec["template"]["spec"])
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
    yield from _check_key("reportingController", event.get("reportingComponent", ""))
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
