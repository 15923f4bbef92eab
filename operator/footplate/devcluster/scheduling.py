"""Which node a pod goes to: countable resources, selectors, affinity, taints. Pure.

The part of kube-scheduler that decides whether a pod fits, with its words for why not; of the nodes that fit, the one
that the pod's node affinity prefers is taken and, among equals, the one with the fewest pods.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from footplate.devcluster.values import parse_quantity

Object = Mapping[str, Any]
Amounts = dict[str, float]

_ROUNDING = 1e-6  # sums of tenths of a core are not exact


class Unschedulable(Exception):
    """No node takes the pod; the text counts the nodes by reason."""


class Load:
    """What is taken of each node."""

    def __init__(self) -> None:
        self._used: dict[str, Amounts] = defaultdict(dict)

    def add(self, node: str, pod: Object) -> None:
        """Counts a pod that is bound to `node` and hasn't ended."""
        _add(self._used[node], pod_requests(pod))

    def used(self, node: str, resource: str) -> float:
        """How much of a resource (or of `pods`) is taken."""
        return self._used[node].get(resource, 0.0)


def container_requests(container: Object) -> Amounts:
    """Requests of a container; what is only limited is requested, as the API server has it."""
    resources = container.get("resources") or {}
    amounts = (resources.get("limits") or {}) | (resources.get("requests") or {})
    return {name: float(parse_quantity(amount) or 0) for name, amount in amounts.items()}


def pod_requests(pod: Object) -> Amounts:
    """What a pod takes of a node: the sum of its containers, or its largest init container where that is more."""
    total: Amounts = {"pods": 1.0}
    for container in pod["spec"]["containers"]:
        _add(total, container_requests(container))
    for container in pod["spec"].get("initContainers") or ():
        for name, amount in container_requests(container).items():
            total[name] = max(total.get(name, amount), amount)
    return total


def place(pod: Object, nodes: Sequence[Object], load: Load) -> str:
    """Name of the node for `pod`; raises Unschedulable."""
    requests = pod_requests(pod)
    refusals: Counter[str] = Counter()
    fitting: list[str] = []
    for node in nodes:
        reasons = [*_refuse_node(pod, node), *_lacking(requests, node, load)]
        refusals.update(reasons)
        if not reasons:
            fitting.append(node["metadata"]["name"])
    if fitting:
        wish = {node["metadata"]["name"]: _preference(pod["spec"], node) for node in nodes}
        return min(fitting, key=lambda name: (-wish[name], load.used(name, "pods")))
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(refusals.items()))
    raise Unschedulable(f"0/{len(nodes)} nodes are available: {why}." if nodes else "no nodes available")


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0.0) + amount


def _lacking(requests: Amounts, node: Object, load: Load) -> Iterator[str]:
    allocatable = node["status"].get("allocatable") or {}
    for resource, amount in requests.items():
        capacity = float(parse_quantity(allocatable.get(resource)) or 0)
        if load.used(node["metadata"]["name"], resource) + amount > capacity + _ROUNDING:
            yield "Too many pods" if resource == "pods" else f"Insufficient {resource}"


def _refuse_node(pod: Object, node: Object) -> Iterator[str]:
    taints = list(node["spec"].get("taints") or ())
    if node["spec"].get("unschedulable"):
        taints.append({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"})
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in taints:
        if taint["effect"] != "PreferNoSchedule" and not any(_tolerates(each, taint) for each in tolerations):
            yield f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if not _selects(pod["spec"], node):
        yield "node(s) didn't match Pod's node affinity/selector"


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    return toleration["key"] == taint["key"] and same_value


def _selects(spec: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_holds(term, labels, fields) for term in required["nodeSelectorTerms"])


def _preference(spec: Object, node: Object) -> int:
    """The weights of what the pod prefers and this node has."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    labels, fields = node["metadata"].get("labels") or {}, {"metadata.name": node["metadata"]["name"]}
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return sum(each["weight"] for each in preferred if _holds(each["preference"], labels, fields))


def _holds(term: Object, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether a node meets a term; one that asks for nothing holds nowhere."""
    expressions, names = term.get("matchExpressions") or (), term.get("matchFields") or ()
    asks = bool(expressions or names)
    return asks and all(_matches(e, labels) for e in expressions) and all(_matches(name, fields) for name in names)


def _matches(requirement: Object, values: Mapping[str, str]) -> bool:
    value = values.get(requirement["key"])
    wanted: Sequence[str] = requirement.get("values") or ()
    match requirement["operator"]:
        case "In":
            return value in wanted
        case "NotIn":
            return value not in wanted
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and int(value) > int(wanted[0])
        case "Lt":
            return value is not None and int(value) < int(wanted[0])
    raise ValueError(f"unknown operator {requirement['operator']!r}")
