"""core/v1 Affinity, with Kubernetes' own rules: said of the job, not of its pods once they are refused."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from footplate.api.types import DnsLabel, LabelKey, LabelValue, Model, Rule, at

MAX_TERMS = 16
Labels = Annotated[dict[LabelKey, LabelValue], Field(max_length=64)]
Weight = Annotated[int, Field(ge=1, le=100)]
Values = Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)]
NodeValues = Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=64)]


def _has_values(it: Mapping[str, Any]) -> bool:
    return it["operator"] not in ("In", "NotIn") or bool(at(it, "values"))


def _has_no_values(it: Mapping[str, Any]) -> bool:
    return it["operator"] not in ("Exists", "DoesNotExist") or not at(it, "values")


_VALUES = (
    Rule(
        "!(self.operator in ['In', 'NotIn']) || (has(self.values) && self.values.size() > 0)",
        "the operators In and NotIn need values",
        _has_values,
        "values",
    ),
    Rule(
        "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) || self.values.size() == 0",
        "the operators Exists and DoesNotExist take no values",
        _has_no_values,
        "values",
    ),
)


class NodeRequirement(Model):
    """A condition on a node's label."""

    key: LabelKey = Field(description="Label key.", examples=["topology.kubernetes.io/zone"])
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"] = Field(description="How they compare.")
    values: NodeValues | None = Field(None, description="Values; one whole number for Gt and Lt.")

    rules = (
        *_VALUES,
        Rule(
            "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && self.values.size() == 1 && "
            "self.values[0].matches('^[0-9]+$'))",
            "the operators Gt and Lt need one value, a whole number",
            lambda it: (
                it["operator"] not in ("Gt", "Lt")
                or (len(at(it, "values") or ()) == 1 and re.search(r"^[0-9]+\Z", it["values"][0]) is not None)
            ),
            "values",
        ),
    )


class NodeFieldRequirement(Model):
    """A condition on a node's name, the only field that there is."""

    key: Literal["metadata.name"] = Field(description="Field of the node.")
    operator: Literal["In", "NotIn"] = Field(description="How they compare.")
    values: Annotated[list[Annotated[str, Field(max_length=253)]], Field(min_length=1, max_length=1)] = Field(
        description="One name."
    )


class NodeSelectorTerm(Model):
    """Conditions all of which a node must meet."""

    match_expressions: Annotated[list[NodeRequirement], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Conditions on labels."
    )
    match_fields: Annotated[list[NodeFieldRequirement], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Conditions on the node's name."
    )


class NodeSelector(Model):
    """Terms one of which a node must meet."""

    atomic = True

    node_selector_terms: Annotated[list[NodeSelectorTerm], Field(min_length=1, max_length=MAX_TERMS)] = Field(
        description="The terms."
    )


class PreferredNodes(Model):
    """Nodes that are preferred."""

    weight: Weight = Field(description="How much.")
    preference: NodeSelectorTerm = Field(description="The nodes.")


class NodeAffinity(Model):
    """Nodes that the pods need or prefer."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, alias="requiredDuringSchedulingIgnoredDuringExecution", description="Nodes that the pods need."
    )
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredNodes], Field(max_length=MAX_TERMS)] | None
    ) = Field(None, alias="preferredDuringSchedulingIgnoredDuringExecution", description="Nodes that they prefer.")


class LabelRequirement(Model):
    """A condition on a pod's label."""

    key: LabelKey = Field(description="Label key.", examples=["app"])
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"] = Field(description="How they compare.")
    values: Values | None = Field(None, description="Values.")

    rules = _VALUES


class LabelSelector(Model):
    """Pods or namespaces by their labels."""

    atomic = True

    match_labels: Labels | None = Field(None, description="Labels that they have.")
    match_expressions: Annotated[list[LabelRequirement], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Conditions on their labels."
    )


class PodAffinityTerm(Model):
    """Pods, and how near to them is near."""

    topology_key: LabelKey = Field(
        description="Node label; nodes with the same value are one place.", examples=["kubernetes.io/hostname"]
    )
    label_selector: LabelSelector | None = Field(None, description="The pods.")
    namespaces: Annotated[list[DnsLabel], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Their namespaces. Default: the job's."
    )
    namespace_selector: LabelSelector | None = Field(None, description="More namespaces, by labels.")
    match_label_keys: Annotated[list[LabelKey], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Labels that they must have in common with this pod."
    )
    mismatch_label_keys: Annotated[list[LabelKey], Field(max_length=MAX_TERMS)] | None = Field(
        None, description="Labels in which they must differ from this pod."
    )


class PreferredPods(Model):
    """Pods that are preferred."""

    weight: Weight = Field(description="How much.")
    pod_affinity_term: PodAffinityTerm = Field(description="The pods.")


class PodAffinity(Model):
    """Pods that the pods of the gang must be near to, or far from."""

    required_during_scheduling_ignored_during_execution: (
        Annotated[list[PodAffinityTerm], Field(max_length=MAX_TERMS)] | None
    ) = Field(None, alias="requiredDuringSchedulingIgnoredDuringExecution", description="What they need.")
    preferred_during_scheduling_ignored_during_execution: (
        Annotated[list[PreferredPods], Field(max_length=MAX_TERMS)] | None
    ) = Field(None, alias="preferredDuringSchedulingIgnoredDuringExecution", description="What they prefer.")


class Affinity(Model):
    """core/v1 Affinity."""

    node_affinity: NodeAffinity | None = Field(None, description="Nodes.")
    pod_affinity: PodAffinity | None = Field(None, description="Pods to be near to.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Pods to be far from.")
