"""The ValidatingAdmissionPolicies and their bindings: of TrainingJobs, of the TrainingRuntimes that tenants write, and
of `kubectl scale`. Pure.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from footplate.admission.validations import (
    of_accelerators,
    of_foreign_pods,
    of_list,
    of_nodes,
    of_packages,
    of_runtimes,
    requirement,
    variables,
)
from footplate.api.crd import GROUP, VERSION
from footplate.api.errors import field_names
from footplate.api.runtime import RuntimeSpec
from footplate.policy.allowed import LIST_RULES
from footplate.policy.places import PLACES, Place

Json = dict[str, Any]

_API = "admissionregistration.k8s.io/v1"
_EDITED = "request.operation == 'CREATE' || object.spec != oldObject.spec"
_STOPS = "request.operation == 'UPDATE' && object.spec.?runPolicy.?suspend.orValue(false)"


def build_objects() -> list[Json]:
    """All of them, in the order in which they are applied."""
    policies = (_of_jobs(), _of_runtimes(), _of_scale())
    return [each for policy in policies for each in (policy, _bind(policy))]


def _of_jobs() -> Json:
    nodes = "[object.spec.?nodes.orValue(1), object.spec.?elastic.?maxNodes.orValue(0)].max()"
    grows = "object.spec.?elastic.?maxNodes.orValue(0) > object.spec.?nodes.orValue(1)"
    where = f"({grows} ? 'spec.elastic.maxNodes' : 'spec.nodes')"
    return _policy(
        "trainingjobs",
        resource="trainingjobs",
        operations=["CREATE", "UPDATE"],
        conditions={"edited": _EDITED, "goes-on": f"!({_STOPS})"},
        variables=[
            *variables([*LIST_RULES, "runtimes"]), requirement(), {"name": "nodes", "expression": nodes},
        ],
        validations=[*of_runtimes(), *_of_places(PLACES), *_of_size(where), *of_packages()],
    )  # fmt: skip


def _of_runtimes() -> Json:
    known = set(field_names(RuntimeSpec))
    return _policy(
        "trainingruntimes",
        resource="trainingruntimes",
        operations=["CREATE", "UPDATE"],
        conditions={"edited": _EDITED},
        variables=[
            *variables(LIST_RULES), requirement(), {"name": "nodes", "expression": "object.spec.?nodes.orValue(1)"},
        ],
        validations=[
            *_of_places([place for place in PLACES if place.path.replace("[", ".").split(".")[0] in known]),
            *_of_size("'spec.nodes'"), *of_packages(),
        ],
    )  # fmt: skip


def _of_scale() -> Json:
    """What `kubectl scale` sends has no other field of the job's: the operator holds what these nodes have."""
    return _policy(
        "trainingjobs-scale",
        resource="trainingjobs/scale",
        operations=["UPDATE"],
        conditions={},
        variables=[*variables([])],
        validations=[of_nodes("object.spec.replicas", "'spec.nodes'")],
    )


def _of_places(places: Sequence[Place]) -> Iterator[Json]:
    return (of_foreign_pods(place) if place.rule == "foreignPods" else of_list(place) for place in places)


def _of_size(where: str) -> Iterator[Json]:
    yield of_nodes("variables.nodes", where)
    yield of_accelerators("limits", "variables.nodes")
    yield of_accelerators("requests", "variables.nodes")


def _policy(
    name: str,
    *,
    resource: str,
    operations: Sequence[str],
    conditions: dict[str, str],
    variables: Sequence[Json],
    validations: Sequence[Json],
) -> Json:
    rule = {"apiGroups": [GROUP], "apiVersions": [VERSION], "operations": [*operations], "resources": [resource]}
    spec = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": f"{GROUP}/{VERSION}", "kind": "TrainingPolicy"},
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": key, "expression": expression} for key, expression in conditions.items()],
        "variables": [*variables],
        "validations": [*validations],
    }
    filled = {key: value for key, value in spec.items() if value != []}
    head = {"apiVersion": _API, "kind": "ValidatingAdmissionPolicy"}
    return {**head, "metadata": {"name": f"{name}.{GROUP}"}, "spec": filled}


def _bind(policy: Json) -> Json:
    """To all TrainingPolicies: each says itself which namespaces it is for. Where there is none, nothing is refused."""
    name = policy["metadata"]["name"]
    spec = {
        "policyName": name,
        "validationActions": ["Deny"],
        "paramRef": {"selector": {}, "parameterNotFoundAction": "Allow"},
    }
    return {"apiVersion": _API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": name}, "spec": spec}
