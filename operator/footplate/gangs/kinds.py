"""Which scheduler a job's gang belongs to. Pure.

`auto` never chooses a scheduler: it tells the one that the job has chosen already, by its queue or by the name of its
scheduler, what belongs together. So nothing changes for a job because somebody installs another scheduler beside its
own.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from footplate.api.trainingjob import TrainingJobSpec

DEFAULT_SCHEDULER = "default-scheduler"


class GangKind(StrEnum):
    """Who starts the pods of an attempt together."""

    NONE = "none"
    """Nobody: each pod is scheduled by itself, and a gang that is half scheduled too long gives its nodes back."""
    KUEUE = "kueue"
    COSCHEDULING = "coscheduling"
    VOLCANO = "volcano"
    NATIVE = "native"


VOLCANO_SCHEDULER = "volcano"
COSCHEDULING_SCHEDULER = "scheduler-plugins-scheduler"
"""As its chart names it, where the job names no other."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whose gang a job's is, and whether the cluster serves what that needs."""

    kind: GangKind
    served: bool = True


def choose(spec: TrainingJobSpec, served: Collection[GangKind]) -> Choice:
    """The scheduler of an attempt that begins now.

    Args:
        spec: the resolved job.
        served: kinds whose API the cluster serves.
    """
    asked = spec.scheduling.gang or "auto"
    kind = _of_auto(spec, served) if asked == "auto" else GangKind(asked)
    return Choice(kind, kind is GangKind.NONE or kind in served)


def _of_auto(spec: TrainingJobSpec, served: Collection[GangKind]) -> GangKind:
    if spec.scheduling.queue_name:
        return GangKind.KUEUE
    if spec.nodes == 1:
        return GangKind.NONE
    kind = _of_scheduler(spec.pod_template.scheduler_name)
    return kind if kind in served else GangKind.NONE


def _of_scheduler(name: str) -> GangKind:
    """What a scheduler of this name reads."""
    if name in ("", DEFAULT_SCHEDULER):
        return GangKind.NATIVE
    return GangKind.VOLCANO if name == VOLCANO_SCHEDULER else GangKind.COSCHEDULING
