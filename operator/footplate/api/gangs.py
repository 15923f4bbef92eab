"""Rules of a spec that names who schedules its gang: nothing else in it may say otherwise."""

from collections.abc import Mapping
from typing import Any

from footplate.api.types import Rule, at

_NAMED = ("kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/pod-group-name", "scheduling.x-k8s.io/pod-group")
"""Labels by which schedulers know a gang."""
_ANNOTATED = "scheduling.k8s.io/group-name"


def _gang(spec: Mapping[str, Any]) -> str:
    return at(spec, "scheduling", "gang") or "auto"


def _is_named(spec: Mapping[str, Any]) -> bool:
    """Whether the spec says who schedules the gang, so that the operator marks the pods."""
    return _gang(spec) not in ("auto", "none") or bool(at(spec, "scheduling", "queueName"))


def _has_queue(spec: Mapping[str, Any]) -> bool:
    return at(spec, "runtimeRef") is not None or _gang(spec) != "kueue" or bool(at(spec, "scheduling", "queueName"))


def _has_scheduler(spec: Mapping[str, Any]) -> bool:
    name = at(spec, "podTemplate", "schedulerName") or ""
    if _gang(spec) == "volcano":
        return name in ("", "volcano")
    return not (_gang(spec) in ("coscheduling", "native") and name == "volcano")


def _leaves_marks(spec: Mapping[str, Any]) -> bool:
    labels, annotations = (at(spec, "podTemplate", field) or {} for field in ("labels", "annotations"))
    return not _is_named(spec) or not (_ANNOTATED in annotations or any(each in labels for each in _NAMED))


_HAS_GANG = "has(self.scheduling) && has(self.scheduling.gang)"
_SCHEDULER = "has(self.podTemplate) && has(self.podTemplate.schedulerName)"

SPEC_RULES = (
    Rule(
        f"has(self.runtimeRef) || !({_HAS_GANG} && self.scheduling.gang == 'kueue') || "
        "(has(self.scheduling.queueName) && self.scheduling.queueName != '')",
        "gang: kueue needs scheduling.queueName; name a LocalQueue of the job's namespace (`kubectl get localqueues`)",
        _has_queue,
        "scheduling.queueName",
    ),
    Rule(
        f"!({_HAS_GANG} && {_SCHEDULER}) || (self.scheduling.gang == 'volcano' ? "
        "self.podTemplate.schedulerName in ['', 'volcano'] : "
        "!(self.scheduling.gang in ['coscheduling', 'native'] && self.podTemplate.schedulerName == 'volcano'))",
        "schedulerName contradicts scheduling.gang: gang: volcano is scheduled by volcano, coscheduling and native by "
        "any other; leave schedulerName out, or name the scheduler that scheduling.gang means",
        _has_scheduler,
        "podTemplate.schedulerName",
    ),
    Rule(
        "!has(self.scheduling) || ((!has(self.scheduling.gang) || self.scheduling.gang in ['auto', 'none']) && "
        "(!has(self.scheduling.queueName) || self.scheduling.queueName == '')) || !has(self.podTemplate) || "
        f"((!has(self.podTemplate.labels) || !self.podTemplate.labels.exists(key, key in {list(_NAMED)})) && "
        f"(!has(self.podTemplate.annotations) || !('{_ANNOTATED}' in self.podTemplate.annotations)))",
        f"labels {', '.join(_NAMED)} and annotation {_ANNOTATED} are the operator's where scheduling.gang or "
        "scheduling.queueName is set; leave them out",
        _leaves_marks,
        "podTemplate",
    ),
)
