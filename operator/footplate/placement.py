"""Where the pods of a gang may run, and where they should. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from footplate.api.trainingjob import TrainingJobSpec
from footplate.objects import Object


def placement(spec: TrainingJobSpec, *, gang_labels: Mapping[str, str], avoid: Sequence[str]) -> Object:
    """The fields of a pod's spec for it; unset ones are left out, so that the cluster's defaults hold.

    Args:
        spec: the resolved job.
        gang_labels: labels that all pods of the gang have, and no others.
        avoid: Kubernetes nodes to keep away from as long as there are others.
    """
    template = spec.pod_template
    fields: Object = {
        "nodeSelector": dict(template.node_selector),
        "tolerations": [toleration.to_json() for toleration in template.tolerations],
        "affinity": _affinity(spec, gang_labels, avoid),
        "serviceAccountName": template.service_account_name,
        "imagePullSecrets": [secret.to_json() for secret in template.image_pull_secrets],
        "runtimeClassName": template.runtime_class_name,
        "schedulerName": template.scheduler_name,
        "priorityClassName": spec.scheduling.priority_class_name,
    }
    return {key: value for key, value in fields.items() if value}


def _affinity(spec: TrainingJobSpec, gang_labels: Mapping[str, str], avoid: Sequence[str]) -> Object:
    """The user's affinity, away from `avoid`, and with the gang together in one topology domain where asked."""
    own = spec.pod_template.affinity
    affinity: dict[str, Any] = own.to_json() if own is not None else {}
    if avoid:
        away = [{"key": "metadata.name", "operator": "NotIn", "values": [node]} for node in sorted(avoid)]
        _prefer(affinity, "nodeAffinity", {"weight": 100, "preference": {"matchFields": away}})
    key = spec.scheduling.topology_key
    if key:
        term = {"topologyKey": key, "labelSelector": {"matchLabels": dict(gang_labels)}}
        _prefer(affinity, "podAffinity", {"weight": 100, "podAffinityTerm": term})
    return affinity


def _prefer(affinity: dict[str, Any], kind: str, term: Object) -> None:
    """Adds a preference to the user's own: a demand could keep the gang waiting for ever where there is no other way.
    Null is as good as absent; an affinity that isn't one is left for the API server to explain.
    """
    field = "preferredDuringSchedulingIgnoredDuringExecution"
    own = affinity.get(kind) or {}
    terms = (own.get(field) or []) if isinstance(own, Mapping) else None
    if isinstance(terms, list):
        affinity[kind] = {**own, field: [*terms, term]}
