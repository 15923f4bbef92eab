"""What Kubernetes demands of a pod's affinity and tolerations beside their shapes, in its words."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from footplate.devcluster.errors import FieldError, forbidden_field, invalid, required, unsupported
from footplate.devcluster.names import check_key

Block = Mapping[str, Any]
REQUIRED, PREFERRED = (f"{how}DuringSchedulingIgnoredDuringExecution" for how in ("required", "preferred"))
LABEL_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NODE_OPERATORS = (*LABEL_OPERATORS, "Gt", "Lt")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def check_affinity(affinity: Block, path: str) -> Iterator[FieldError]:
    """Node affinity, pod affinity and pod anti-affinity."""
    nodes, where = affinity.get("nodeAffinity") or {}, f"{path}.nodeAffinity"
    if REQUIRED in nodes:
        terms = nodes[REQUIRED].get("nodeSelectorTerms") or ()
        if not terms:
            why = "must have at least one node selector term"
            yield required(f"{where}.{REQUIRED}.nodeSelectorTerms", why)
        for index, term in enumerate(terms):
            yield from _check_node_term(term, f"{where}.{REQUIRED}.nodeSelectorTerms[{index}]")
    for index, preferred in enumerate(nodes.get(PREFERRED) or ()):
        yield from _check_weight(preferred, f"{where}.{PREFERRED}[{index}]")
        yield from _check_node_term(preferred.get("preference") or {}, f"{where}.{PREFERRED}[{index}].preference")
    for kind in ("podAffinity", "podAntiAffinity"):
        pods, where = affinity.get(kind) or {}, f"{path}.{kind}"
        for index, term in enumerate(pods.get(REQUIRED) or ()):
            yield from _check_pod_term(term, f"{where}.{REQUIRED}[{index}]")
        for index, preferred in enumerate(pods.get(PREFERRED) or ()):
            yield from _check_weight(preferred, f"{where}.{PREFERRED}[{index}]")
            term = preferred.get("podAffinityTerm") or {}
            yield from _check_pod_term(term, f"{where}.{PREFERRED}[{index}].podAffinityTerm")


def check_tolerations(tolerations: Sequence[Block], path: str) -> Iterator[FieldError]:
    """A pod's tolerations."""
    for index, toleration in enumerate(tolerations):
        where = f"{path}[{index}]"
        key, operator = toleration.get("key"), toleration.get("operator") or ""
        value, effect = toleration.get("value"), toleration.get("effect")
        if key:
            yield from check_key(f"{where}.key", key)
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{where}.operator", operator, why)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            yield invalid(f"{where}.effect", effect or "", "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator == "Exists" and value:
            yield invalid(f"{where}.operator", value, "value must be empty when `operator` is 'Exists'")
        if operator not in ("", "Equal", "Exists"):
            yield unsupported(f"{where}.operator", operator, ("Equal", "Exists"))
        if effect and effect not in EFFECTS:
            yield unsupported(f"{where}.effect", effect, EFFECTS)


def _check_weight(preferred: Block, path: str) -> Iterator[FieldError]:
    if not 1 <= preferred.get("weight", 0) <= 100:
        yield invalid(f"{path}.weight", preferred.get("weight", 0), "must be in the range 1-100")


def _check_node_term(term: Block, path: str) -> Iterator[FieldError]:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        where = f"{path}.matchExpressions[{index}]"
        yield from _check_requirement(requirement, where, NODE_OPERATORS)
        if requirement["operator"] in ("Gt", "Lt") and len(requirement.get("values") or ()) != 1:
            yield required(f"{where}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    for index, requirement in enumerate(term.get("matchFields") or ()):
        where = f"{path}.matchFields[{index}]"
        if len(requirement.get("values") or ()) != 1:
            why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            yield required(f"{where}.values", why)
        if requirement["key"] != "metadata.name":
            yield invalid(f"{where}.key", requirement["key"], "not a valid field selector key")


def _check_pod_term(term: Block, path: str) -> Iterator[FieldError]:
    expressions = (term.get("labelSelector") or {}).get("matchExpressions") or ()
    for index, requirement in enumerate(expressions):
        where = f"{path}.labelSelector.matchExpressions[{index}]"
        yield from _check_requirement(requirement, where, LABEL_OPERATORS)
    if not term.get("topologyKey"):
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from check_key(f"{path}.topologyKey", term.get("topologyKey", ""))


def _check_requirement(requirement: Block, path: str, operators: Sequence[str]) -> Iterator[FieldError]:
    operator, values = requirement["operator"], requirement.get("values")
    if operator in ("In", "NotIn") and not values:
        yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    if operator in ("Exists", "DoesNotExist") and values:
        yield forbidden_field(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    if operator not in operators:
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    yield from check_key(f"{path}.key", requirement["key"])
