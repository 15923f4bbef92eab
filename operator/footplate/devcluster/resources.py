"""What the API serves: the built-in kinds as one table, and custom kinds read from their definitions.

Built-in kinds take their schemas from the models of the `kubernetes` package, so that unknown fields,
wrong types and `kubectl explain` work for them as for custom kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from footplate.devcluster.cel import Rules, collect_rules
from footplate.devcluster.values import Schema

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

# The keys of associative lists by their items' model, the strategic merge key first. All other lists are atomic.
MERGE_KEYS = {
    "V1Container": ("name",),
    "V1EphemeralContainer": ("name",),
    "V1EnvVar": ("name",),
    "V1Volume": ("name",),
    "V1VolumeMount": ("mountPath",),
    "V1VolumeDevice": ("devicePath",),
    "V1ContainerPort": ("containerPort", "protocol"),
    "V1ServicePort": ("port", "protocol"),
    "V1LocalObjectReference": ("name",),
    "V1PodIP": ("ip",),
    "V1HostAlias": ("ip",),
    "V1PodSchedulingGate": ("name",),
    "V1TopologySpreadConstraint": ("topologyKey", "whenUnsatisfiable"),
    "V1OwnerReference": ("uid",),
    "V1NodeAddress": ("type",),
    "V1ObjectReference": ("name",),
    **{f"V1{kind}Condition": ("type",) for kind in ("", "Pod", "Node", "Namespace", "Deployment")},
}
QUANTITY_MAPS = {"limits", "requests", "capacity", "allocatable", "overhead", "hard"}
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
QUANTITY: Schema = {**INT_OR_STRING, "format": "quantity"}
LOOSE: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@dataclass(frozen=True)
class Column:
    """A printer column of a custom kind."""

    name: str
    type: str
    path: str
    wide: bool = False


@dataclass(frozen=True, eq=False)
class Resource:
    """One served resource: `storage` names its shelf, which all versions of a kind share."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: Mapping[str, str] = field(default_factory=dict)
    generation: bool = False
    columns: tuple[Column, ...] = ()
    selectable: tuple[str, ...] = ()
    custom_schema: Schema | None = None
    storage: tuple[str, str] = ("", "")

    def __post_init__(self) -> None:
        object.__setattr__(self, "storage", self.storage if any(self.storage) else (self.group, self.plural))

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.custom_schema is not None

    @cached_property
    def api_version(self) -> str:
        """`group/version`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @cached_property
    def head(self) -> bytes:
        """The start of a serialised object, to be followed by `Version.json`."""
        return f'{{"kind":"{self.kind}","apiVersion":"{self.api_version}",'.encode()

    @cached_property
    def schema(self) -> Schema:
        """The structural schema of a whole object."""
        return self.custom_schema if self.custom_schema is not None else model_schema(self.kind, self.group)

    @cached_property
    def rules(self) -> Rules | None:
        """Its CEL rules, or None where it has none."""
        return collect_rules(self.schema) if self.custom else None

    @cached_property
    def subresources(self) -> tuple[str, ...]:
        """What may follow an object's name in a URL."""
        parts = {"status": self.status, "scale": bool(self.scale)} | dict.fromkeys(
            ("log", "binding"), self.kind == "Pod"
        )
        return tuple(part for part, served in parts.items() if served)

    def discovery(self) -> list[dict[str, Any]]:
        """Its entries in the list of the group version's resources."""
        entry: dict[str, Any] = {"name": self.plural, "singularName": self.kind.lower()}
        verbs = [verb for verb in VERBS if (self.kind, verb) != ("Namespace", "deletecollection")]
        entry |= {"namespaced": self.namespaced, "kind": self.kind, "verbs": verbs}
        entry |= {"shortNames": list(self.short)} if self.short else {}
        entry |= {"categories": list(self.categories)} if self.categories else {}
        subresource = {"singularName": "", "namespaced": self.namespaced, "verbs": ["get", "patch", "update"]}
        entries = [entry]
        if self.status:
            entries.append({"name": f"{self.plural}/status", "kind": self.kind} | subresource)
        if self.scale:
            scale = {"name": f"{self.plural}/scale", "group": "autoscaling", "version": "v1", "kind": "Scale"}
            entries.append(scale | subresource)
        if self.kind == "Pod":
            log = {"name": "pods/log", "singularName": "", "namespaced": True, "kind": "Pod", "verbs": ["get"]}
            binding = {"name": "pods/binding", "singularName": "", "namespaced": True, "kind": "Binding"}
            proxy = {"name": "pods/proxy", "singularName": "", "namespaced": True, "kind": "PodProxyOptions"}
            entries += [log, binding | {"verbs": ["create"]}, proxy | {"verbs": ["get"]}]
        return entries


def builtin_resources() -> list[Resource]:
    """The built-in kinds."""
    core, rbac = "", "rbac.authorization.k8s.io"
    pod_spec = ("nodeName", "restartPolicy", "schedulerName", "serviceAccountName", "hostNetwork")
    pod = (*(f"spec.{name}" for name in pod_spec), "status.phase", "status.podIP", "status.nominatedNodeName")
    about = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    event = (*(f"involvedObject.{name}" for name in about), "reason", "reportingComponent", "source", "type")
    r = Resource
    return [
        r(core, "v1", "namespaces", "Namespace", False, ("ns",), status=True, selectable=("status.phase",)),
        r(core, "v1", "nodes", "Node", False, ("no",), status=True, selectable=("spec.unschedulable",)),
        r(core, "v1", "pods", "Pod", True, ("po",), ("all",), status=True, generation=True, selectable=pod),
        r(core, "v1", "services", "Service", True, ("svc",), ("all",), status=True, selectable=("spec.clusterIP",)),
        r(core, "v1", "configmaps", "ConfigMap", True, ("cm",)),
        r(core, "v1", "secrets", "Secret", True, (), selectable=("type",)),
        r(core, "v1", "serviceaccounts", "ServiceAccount", True, ("sa",)),
        r(core, "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), status=True),
        r(core, "v1", "events", "Event", True, ("ev",), selectable=event),
        r("events.k8s.io", "v1", "events", "Event", True, ("ev",), selectable=event, storage=("", "events")),
        r("coordination.k8s.io", "v1", "leases", "Lease"),
        r("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, ("pc",), generation=True),
        r("apps", "v1", "deployments", "Deployment", True, ("deploy",), ("all",), status=True, generation=True,
          scale={"spec": "spec.replicas", "status": "status.replicas"}),
        r(rbac, "v1", "roles", "Role"),
        r(rbac, "v1", "rolebindings", "RoleBinding"),
        r(rbac, "v1", "clusterroles", "ClusterRole", False),
        r(rbac, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
        r("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False,
          ("crd", "crds"), ("api-extensions",), status=True, generation=True),
    ]  # fmt: skip


def custom_resources(definition: Mapping[str, Any]) -> list[Resource]:
    """What a CustomResourceDefinition makes the API serve: a resource for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Resource(
            spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced",
            tuple(names.get("shortNames", ())), tuple(names.get("categories", ())),
            status="status" in version.get("subresources", {}),
            scale=_scale_paths(version.get("subresources", {}).get("scale", {})),
            generation=True,
            columns=tuple(
                Column(each["name"], each["type"], each["jsonPath"], wide=each.get("priority", 0) > 0)
                for each in version.get("additionalPrinterColumns", ())
            ),
            selectable=tuple(each["jsonPath"].lstrip(".") for each in version.get("selectableFields", ())),
            custom_schema=_with_metadata(version["schema"]["openAPIV3Schema"]),
        )
        for version in spec["versions"]
        if version["served"]
    ]  # fmt: skip


def _scale_paths(scale: Mapping[str, str]) -> dict[str, str]:
    if not scale:
        return {}
    paths = {"spec": scale["specReplicasPath"], "status": scale["statusReplicasPath"]}
    paths |= {"selector": scale["labelSelectorPath"]} if "labelSelectorPath" in scale else {}
    return {part: path.lstrip(".") for part, path in paths.items()}


def _with_metadata(schema: Schema) -> Schema:
    return {**schema, "properties": {**schema.get("properties", {}), "metadata": model_schema("ObjectMeta", "")}}


@cache
def model_schema(kind: str, group: str) -> Schema:
    """The structural schema of a built-in kind, from the client library's model of it."""
    if kind == "CustomResourceDefinition":  # its own schema would be recursive
        spec = {**LOOSE, "required": ["group", "names", "scope", "versions"]}
        parts = {"metadata": model_schema("ObjectMeta", ""), "spec": spec, "status": LOOSE}
        return {"type": "object", "required": ["spec"], "properties": parts}
    from kubernetes.aio.client import models

    prefix = {"": "CoreV1", "events.k8s.io": "EventsV1"}[group] if kind == "Event" else "V1"
    document = getattr(models, prefix + kind).model_json_schema(by_alias=True)
    schema = _inline(document, document.get("$defs", {}))
    if kind != "ObjectMeta" and "metadata" in schema["properties"]:
        schema["properties"]["metadata"] = model_schema("ObjectMeta", "")
    return schema


def _inline(node: Schema, definitions: Mapping[str, Schema], name: str = "") -> dict[str, Any]:
    """A structural schema from a pydantic one: references inlined, optional unions unwrapped, lists keyed."""
    description = {"description": node["description"]} if "description" in node else {}
    if "anyOf" in node:
        options = [each for each in node["anyOf"] if each.get("type") != "null"]
        return (_inline(options[0], definitions, name) if len(options) == 1 else dict(INT_OR_STRING)) | description
    if "$ref" in node:
        model = node["$ref"].rpartition("/")[2]
        return _inline(definitions[model], definitions) | description
    if node.get("type") == "array":
        keys = MERGE_KEYS.get(node["items"].get("$ref", "").rpartition("/")[2], ())
        listing = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)} if keys else {}
        listing |= {"x-kubernetes-list-type": "set"} if name == "finalizers" else {}
        return {"type": "array", "items": _inline(node["items"], definitions)} | listing | description
    if "properties" in node:
        properties = {key: _inline(child, definitions, key) for key, child in node["properties"].items()}
        if node["title"] in ("V1ContainerPort", "V1ServicePort"):  # part of these items' identity
            properties["protocol"]["default"] = "TCP"
        kind = {"x-go-type": node["title"].removeprefix("V1").removeprefix("Core")}
        loose = node["title"].endswith(("Event", "EventSeries"))  # Go's zero values do there
        required = {"required": node["required"]} if "required" in node and not loose else {}
        return {"type": "object", "properties": properties} | required | kind | {"description": _summary(node)}
    if isinstance(node.get("additionalProperties"), Mapping):
        values = QUANTITY if name in QUANTITY_MAPS else _inline(node["additionalProperties"], definitions)
        return {"type": "object", "additionalProperties": values} | description
    scalar = {"type": node["type"]} if node.get("type") in ("string", "integer", "number", "boolean") else LOOSE
    return {**scalar, **description}


def _summary(node: Schema) -> str:
    return str(node.get("description", "")).partition("\n\nAttributes:")[0]
