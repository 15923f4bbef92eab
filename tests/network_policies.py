"""What NetworkPolicies let through, by the semantics of networking.k8s.io/v1.

A pod that no policy selects for a direction is open in it. One that is selected lets through what any rule of any of
those policies lets through, and nothing else. A connection needs both sides: the source's egress, the target's ingress.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One side of a connection: a pod in a namespace, or an address outside of the cluster, without one."""

    ip: str
    namespace: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    """Its containers' ports by name."""


def admits(policies: Sequence[Object], source: Endpoint, target: Endpoint, *, port: int, protocol: str = "TCP") -> bool:
    """Whether such a connection comes to be."""
    leaves = _lets(policies, "Egress", source, target, _reaches(target, port, protocol))
    return leaves and _lets(policies, "Ingress", target, source, _reaches(target, port, protocol))


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches; an empty one matches everything."""
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def _lets(policies: Iterable[Object], direction: str, pod: Endpoint, other: Endpoint, reached: Any) -> bool:
    """Whether the policies of a pod let the other side through, in one direction."""
    selecting = [each for each in policies if direction in _types(each["spec"]) and _is_for(each, pod)]
    key, peers = ("ingress", "from") if direction == "Ingress" else ("egress", "to")
    rules = [(each, rule) for each in selecting for rule in each["spec"].get(key) or ()]
    return not selecting or any(
        _names(rule.get(peers), other, namespace=each["metadata"]["namespace"]) and reached(rule.get("ports"))
        for each, rule in rules
    )


def _types(spec: Object) -> Sequence[str]:
    return spec.get("policyTypes") or (["Ingress", "Egress"] if "egress" in spec else ["Ingress"])


def _is_for(policy: Object, pod: Endpoint) -> bool:
    return policy["metadata"]["namespace"] == pod.namespace and selects(policy["spec"]["podSelector"], pod.labels)


def _names(peers: Sequence[Object] | None, other: Endpoint, *, namespace: str) -> bool:
    """Whether a rule's peers include somebody; no peers at all are everybody."""
    return not peers or any(_is(peer, other, namespace=namespace) for peer in peers)


def _is(peer: Object, other: Endpoint, *, namespace: str) -> bool:
    if block := peer.get("ipBlock"):
        address = ip_address(other.ip)
        within = address in ip_network(block["cidr"])
        return within and not any(address in ip_network(each) for each in block.get("except") or ())
    if other.namespace is None:
        return False
    if "namespaceSelector" in peer:
        there = selects(peer["namespaceSelector"], other.namespace_labels)
    else:
        there = other.namespace == namespace
    return there and selects(peer.get("podSelector") or {}, other.labels)


def _reaches(target: Endpoint, port: int, protocol: str) -> Any:
    """Whether a rule's ports include the target's; none at all are all."""

    def is_named(ports: Sequence[Object] | None) -> bool:
        return not ports or any(is_one(each) for each in ports)

    def is_one(named: Object) -> bool:
        if named.get("protocol", "TCP") != protocol:
            return False
        first = named.get("port")
        if isinstance(first, str):
            return target.ports.get(first) == port
        return first is None or first <= port <= named.get("endPort", first)

    return is_named
