"""Pods: the defaults that controllers, kubelets and kubectl rely on, and the rules that a pod must keep."""

import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from footplate.devcluster.affinity import check_affinity, check_tolerations
from footplate.devcluster.errors import FieldError, duplicate, forbidden_field, invalid, required, unsupported
from footplate.devcluster.names import BAD_LABEL, LABEL, check_name
from footplate.devcluster.values import parse_quantity, quote

Body = dict[str, Any]
BAD_VARIABLE = "a valid environment variable name must consist only of printable ASCII characters other than '='"
POD_UPDATES = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"  # noqa: E501
STANDARD = {"cpu", "memory", "ephemeral-storage"}
NOT_READY = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
    for what in ("not-ready", "unreachable")
]


def default_pod(pod: Body, old: Body | None) -> None:
    """The defaults of a pod; a new one is pending."""
    spec = pod.setdefault("spec", {})
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
    yield from check_affinity(spec.get("affinity") or {}, "spec.affinity")
    yield from check_tolerations(spec.get("tolerations") or (), "spec.tolerations")
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        user = spec["securityContext"].get(name)
        if user is not None and not 0 <= user < 2**31:
            yield invalid(f"spec.securityContext.{name}", user, "must be between 0 and 2147483647, inclusive")
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
        if ".." in (mount.get("subPath") or "").split("/"):
            yield invalid(f"{path}.volumeMounts.subPath", mount["subPath"], "must not contain '..'")
    yield from _check_amounts(container, path)


def _check_amounts(container: Body, path: str) -> Iterator[FieldError]:
    requests, limits = (container["resources"].get(kind, {}) for kind in ("requests", "limits"))
    for kind, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _check_amount(name, amount, f"{path}.resources.{kind}[{name}]")
    where = f"{path}.resources.requests"
    for name, amount in requests.items():
        asked, most = parse_quantity(amount) or 0, parse_quantity(limits.get(name)) or 0
        if name not in limits and not _is_overcommitable(name):
            why = "Limit must be set for non overcommitable resources"
            yield required(f"{path}.resources.limits", why)
        elif name in limits and not _is_overcommitable(name) and asked != most:
            yield invalid(where, str(amount), f"must be equal to {name} limit of {limits[name]}")
        elif name in limits and asked > most:
            yield invalid(where, str(amount), f"must be less than or equal to {name} limit of {limits[name]}")
    names = {*requests, *limits}
    if any(name.startswith("hugepages-") for name in names) and not names & {"cpu", "memory"}:
        yield forbidden_field(f"{path}.resources", "HugePages require cpu or memory")


def _check_amount(name: str, amount: object, path: str) -> Iterator[FieldError]:
    value = parse_quantity(amount) or Fraction(0)
    if "/" not in name and name not in STANDARD and not name.startswith("hugepages-"):
        yield invalid(path, name, "must be a standard resource type or fully qualified")
        yield invalid(path, name, "must be a standard resource for containers")
    if value < 0:
        yield invalid(path, str(amount), "must be greater than or equal to 0")
    if "/" in name and value % 1:
        yield invalid(path, _in_thousandths(value), "must be an integer")


def _in_thousandths(value: Fraction) -> str:
    """As Kubernetes writes a fraction: rounded up to thousandths."""
    return f"{math.ceil(value * 1000)}m"


def _is_overcommitable(name: str) -> bool:
    return "/" not in name and not name.startswith("hugepages-")
