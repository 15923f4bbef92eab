"""Where each kind lives in the API, and accessors for the few metadata fields that the machinery reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
"""A raw Kubernetes object."""

Key = tuple[str, str]
"""Namespace and name; the namespace is empty for cluster-scoped kinds."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind's collection: `api` is `v1` or `group/version`, `plural` the lower-case name in the path."""

    api: str
    plural: str

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of the collection (in one namespace, or of all), or of one object in it."""
        parts = ["/api" if "/" not in self.api else "/apis", self.api]
        if namespace:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part]
        return "/".join(parts)


TRAINING_JOBS = Resource("footplate.dev/v1alpha1", "trainingjobs")
RUNTIMES = Resource("footplate.dev/v1alpha1", "trainingruntimes")
CLUSTER_RUNTIMES = Resource("footplate.dev/v1alpha1", "clustertrainingruntimes")
PODS = Resource("v1", "pods")
NODES = Resource("v1", "nodes")
SERVICES = Resource("v1", "services")
CONFIG_MAPS = Resource("v1", "configmaps")
EVENTS = Resource("events.k8s.io/v1", "events")
LEASES = Resource("coordination.k8s.io/v1", "leases")

_BY_KIND = {"Pod": PODS, "Service": SERVICES, "ConfigMap": CONFIG_MAPS}


def resource_of(manifest: Object) -> Resource:
    """The collection that a manifest is created in; gang APIs name their plurals regularly."""
    return Resource(manifest["apiVersion"], f"{manifest['kind'].lower()}s")


def resource_of_kind(kind: str) -> Resource:
    """The collection of a core kind that the operator deletes from; KeyError for any other."""
    return _BY_KIND[kind]


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def uid_of(obj: Object) -> str:
    """The object's UID, empty for a manifest that isn't created yet."""
    return str(obj["metadata"].get("uid", ""))


def version_of(obj: Object) -> str:
    """The object's resourceVersion, empty where it has none."""
    return str(obj["metadata"].get("resourceVersion", ""))


def controller_of(obj: Object) -> Object | None:
    """The ownerReference of the object's controller, None where nothing controls it."""
    for reference in obj["metadata"].get("ownerReferences", ()):
        if reference.get("controller"):
            return reference  # type: ignore[no-any-return]
    return None


def is_newer(version: str, than: str) -> bool:
    """Compares resourceVersions: as integers where both are (Kubernetes promises that since 1.35), else by equality."""
    try:
        return int(version) > int(than)
    except ValueError:
        return version != than
