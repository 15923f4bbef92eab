"""Where each kind lives in the API."""

from dataclasses import dataclass

from footplate.objects import Object


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
POLICIES = Resource("footplate.dev/v1alpha1", "trainingpolicies")
NAMESPACES = Resource("v1", "namespaces")
PODS = Resource("v1", "pods")
PRIORITY_CLASSES = Resource("scheduling.k8s.io/v1", "priorityclasses")
NODES = Resource("v1", "nodes")
SERVICES = Resource("v1", "services")
CONFIG_MAPS = Resource("v1", "configmaps")
SECRETS = Resource("v1", "secrets")
EVENTS = Resource("events.k8s.io/v1", "events")
LEASES = Resource("coordination.k8s.io/v1", "leases")

_BY_KIND = {
    "Pod": PODS,
    "Service": SERVICES,
    "ConfigMap": CONFIG_MAPS,
    "Node": NODES,
    "TrainingJob": TRAINING_JOBS,
}


def resource_of(manifest: Object) -> Resource:
    """The collection that a manifest is created in: the kinds that the operator creates have regular plurals."""
    return Resource(manifest["apiVersion"], f"{manifest['kind'].lower()}s")


def resource_of_target(kind: str, api: str) -> Resource:
    """The collection of what is to be deleted; `api` is empty where the kind says it."""
    return Resource(api, f"{kind.lower()}s") if api else resource_of_kind(kind)


def resource_of_kind(kind: str) -> Resource:
    """The collection of a kind of which the operator reads or deletes single objects; KeyError for any other."""
    return _BY_KIND[kind]
