"""Tables, as `kubectl get` asks for them: the columns of each kind and the cells of its objects."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from footplate.devcluster.resources import Column, Resource
from footplate.devcluster.store import Version
from footplate.devcluster.values import look_up

Body = Mapping[str, Any]
Cells = Callable[[Body, datetime], list[Any]]
STEP = re.compile(
    r"\.(?P<name>(?:\\.|[^.\[\\])+)|\[(?:'(?P<quoted>[^']*)'|(?P<index>-?\d+|\*)(?:(?<=-1):)?|\?\(@(?P<left>[^=!)]+?)\s*==\s*(?P<right>[^)]*)\))\]"
)


def find_path(value: Any, path: str) -> list[Any]:
    """What a JSONPath (names, indexes, `*`, the slice `-1:`, equality filters) finds."""
    found = [value]
    for step in STEP.finditer(path if path.startswith((".", "[")) else f".{path}"):
        found = [item for each in found for item in _follow(each, step)]
    return found


def _follow(value: Any, step: re.Match[str]) -> Iterator[Any]:
    name = step["quoted"] if step["quoted"] is not None else (step["name"] or "").replace("\\", "")
    if name:
        if isinstance(value, Mapping) and name in value:
            yield value[name]
    elif isinstance(value, list) and step["left"]:
        wanted = step["right"].strip().strip("\"'")
        yield from (item for item in value if wanted in map(str, find_path(item, step["left"].strip())))
    elif isinstance(value, list):
        yield from value if step["index"] == "*" else value[int(step["index"]) :][:1]


def make_table(resource: Resource, versions: Sequence[Version], now: datetime, *, include: str) -> Body:
    """A `meta.k8s.io/v1` Table; `include` is None, Metadata or Object."""
    headers, cells = _layout(resource)
    rows = [{"cells": cells(version.body, now), "object": _shown(resource, version, include)} for version in versions]
    definitions = [
        {"name": name, "type": kind, "format": "name" if name == "Name" else "", "description": "", "priority": wide}
        for name, kind, wide in headers
    ]
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "columnDefinitions": definitions,
            "rows": rows}  # fmt: skip


def _shown(resource: Resource, version: Version, include: str) -> Body | None:
    if include == "None":
        return None
    if include == "Object":
        return {"kind": resource.kind, "apiVersion": resource.api_version, **version.body}
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": version.body["metadata"]}


def _layout(resource: Resource) -> tuple[list[tuple[str, str, int]], Cells]:
    if resource.custom:
        columns = resource.columns or (Column("Age", "date", ".metadata.creationTimestamp"),)
        headers = [("Name", "string", 0), *((each.name, each.type, int(each.wide)) for each in columns)]
        return headers, lambda body, now: [name_of(body), *(_custom_cell(body, each, now) for each in columns)]
    names, cells = KINDS.get(resource.kind, ("Name,Created At:date", lambda body, _: [name_of(body), created(body)]))
    parts = [re.fullmatch(r"(\*?)([^:]+):?(\w*)", name) for name in names.split(",")]
    return [(part[2], part[3] or "string", len(part[1])) for part in parts if part], cells


def _custom_cell(body: Body, column: Column, now: datetime) -> Any:
    found = find_path(body, column.path)
    if not found:
        return None
    if column.type == "string":
        return " ".join(str(value).lower() if isinstance(value, bool) else str(value) for value in found)
    return since(found[0], now) if column.type == "date" else found[0]


def name_of(body: Body) -> str:
    """The object's name."""
    return str(body["metadata"]["name"])


def created(body: Body) -> str:
    """The creation time as it is written."""
    return str(body["metadata"]["creationTimestamp"])


def age(body: Body, now: datetime) -> str:
    """Time since creation, for a human."""
    return since(created(body), now)


def since(moment: object, now: datetime) -> str:
    """Time since an RFC 3339 moment as Kubernetes' HumanDuration: 90s, 5m3s, 7h12m, 3d."""
    if not moment:
        return "<unknown>"
    seconds = int((now - datetime.fromisoformat(str(moment))).total_seconds())
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    for limit, large, unit, small, subunit in (
        (120, max(seconds, 0), "s", 0, ""), (600, minutes, "m", seconds % 60, "s"), (10_800, minutes, "m", 0, ""),
        (28_800, hours, "h", minutes % 60, "m"), (172_800, hours, "h", 0, ""), (691_200, days, "d", hours % 24, "h"),
        (63_072_000, days, "d", 0, ""), (252_288_000, days // 365, "y", days % 365, "d"),
    ):  # fmt: skip
        if seconds < limit:
            return f"{large}{unit}" + (f"{small}{subunit}" if small else "")
    return f"{days // 365}y"


def _pod_state(pod: Body) -> str:
    status = pod.get("status", {})
    state = str(status.get("reason") or status.get("phase", ""))
    for container in reversed(status.get("containerStatuses", ())):
        waiting, ended = (container.get("state", {}).get(kind) or {} for kind in ("waiting", "terminated"))
        if waiting.get("reason"):
            state = waiting["reason"]
        elif ended:
            signal = f"Signal:{ended.get('signal')}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"
            state = ended.get("reason") or signal
    return "Terminating" if "deletionTimestamp" in pod["metadata"] else state


def _pod(pod: Body, now: datetime) -> list[Any]:
    status, spec = pod.get("status", {}), pod["spec"]
    containers = status.get("containerStatuses", ())
    ready = f"{sum(bool(each.get('ready')) for each in containers)}/{len(spec['containers'])}"
    restarts = str(sum(each.get("restartCount", 0) for each in containers))
    gates = ",".join(each["name"] for each in spec.get("schedulingGates", ()))
    state = "SchedulingGated" if gates else _pod_state(pod)
    wide = [status.get("podIP"), spec.get("nodeName"), status.get("nominatedNodeName"), None]
    return [name_of(pod), ready, state, restarts, age(pod, now), *(each or "<none>" for each in wide)]


def _node(node: Body, now: datetime) -> list[Any]:
    status = node.get("status", {})
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions", ()))
    state = ("Ready" if ready else "NotReady") + (",SchedulingDisabled" if look_up(node, "spec.unschedulable") else "")
    info = status.get("nodeInfo", {})
    addresses = {each["type"]: each["address"] for each in status.get("addresses", ())}
    prefix = "node-role.kubernetes.io/"
    labels = node["metadata"].get("labels") or {}
    roles = sorted(label.removeprefix(prefix) for label in labels if label.startswith(prefix))
    wide = [addresses.get("InternalIP", "<none>"), addresses.get("ExternalIP", "<none>")]
    wide += [info.get(name) or "<unknown>" for name in ("osImage", "kernelVersion", "containerRuntimeVersion")]
    return [name_of(node), state, ",".join(roles) or "<none>", age(node, now), info.get("kubeletVersion", ""), *wide]


def _service(service: Body, now: datetime) -> list[Any]:
    spec = service["spec"]
    ports = ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in spec.get("ports", ()))
    selector = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
    shown = [spec["type"], spec.get("clusterIP", "<none>"), "<none>", ports or "<none>"]
    return [name_of(service), *shown, age(service, now), selector or "<none>"]


def _event(event: Body, now: datetime) -> list[Any]:
    about, source = event.get("involvedObject", {}), event.get("source") or {}
    last = look_up(event, "series.lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    first = event.get("firstTimestamp") or event.get("eventTime")
    where = (
        source.get("component") or event.get("reportingComponent", ""),
        source.get("host") or event.get("reportingInstance"),
    )
    shown = [event.get("type", ""), event.get("reason", ""), f"{about.get('kind', '').lower()}/{about.get('name', '')}"]
    wide = [about.get("fieldPath", ""), ", ".join(filter(None, where)), str(event.get("message", "")).strip()]
    return [since(last, now), *shown, *wide, since(first, now), event.get("count") or 1, name_of(event)]


def _deployment(body: Body, now: datetime) -> list[Any]:
    status, spec = body.get("status", {}), body["spec"]
    containers = spec["template"]["spec"].get("containers", ())
    names, images = (",".join(each[part] for each in containers) for part in ("name", "image"))
    selector = ",".join(f"{key}={value}" for key, value in spec["selector"].get("matchLabels", {}).items())
    counts = [f"{status.get('readyReplicas', 0)}/{spec['replicas']}"]
    counts += [status.get(name, 0) for name in ("updatedReplicas", "availableReplicas")]
    return [name_of(body), *counts, age(body, now), names, images, selector]


def _simple(*paths: str) -> Cells:
    return lambda body, now: [name_of(body), *(_text(look_up(body, path)) for path in paths), age(body, now)]


def _text(value: Any) -> Any:
    return len(value) if isinstance(value, Mapping) else "" if value is None else value


def _binding(body: Body, now: datetime) -> list[Any]:
    role = f"{body['roleRef']['kind']}/{body['roleRef']['name']}"
    return [name_of(body), role, age(body, now)]


# Column names by kind: `*` marks those of `-o wide` only, `:type` those that aren't strings.
KINDS: Mapping[str, tuple[str, Cells]] = {
    "Pod": ("Name,Ready,Status,Restarts,Age,*IP,*Node,*Nominated Node,*Readiness Gates", _pod),
    "Node": ("Name,Status,Roles,Age,Version,*Internal-IP,*External-IP,*OS-Image,*Kernel-Version,*Container-Runtime",
             _node),
    "Service": ("Name,Type,Cluster-IP,External-IP,Port(s),Age,*Selector", _service),
    "Event": ("Last Seen,Type,Reason,Object,*Subobject,*Source,Message,*First Seen,*Count,*Name", _event),
    "Deployment": ("Name,Ready,Up-to-date,Available,Age,*Containers,*Images,*Selector", _deployment),
    "Namespace": ("Name,Status,Age", _simple("status.phase")),
    "ConfigMap": ("Name,Data,Age", lambda body, now: [name_of(body), len(body.get("data") or {}), age(body, now)]),
    "Secret": ("Name,Type,Data,Age",
               lambda body, now: [name_of(body), body["type"], len(body.get("data") or {}), age(body, now)]),
    "ServiceAccount": ("Name,Age", _simple()),
    "PersistentVolumeClaim": ("Name,Status,Volume,Age", _simple("status.phase", "spec.volumeName")),
    "Lease": ("Name,Holder,Age", _simple("spec.holderIdentity")),
    "PriorityClass": ("Name,Value:integer,Age", _simple("value")),
    "RoleBinding": ("Name,Role,Age", _binding),
    "ClusterRoleBinding": ("Name,Role,Age", _binding),
}  # fmt: skip
