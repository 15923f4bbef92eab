"""What a scheduler of gangs is to the rest: an entry of `gangs.table`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from footplate.attempt_spec import AttemptSpec
from footplate.objects import Object


@dataclass(frozen=True, slots=True)
class Membership:
    """What a pod carries to be known to the scheduler; laid over what the job says of its pods."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of a gang that isn't wholly scheduled."""

    group: Object | None
    """The object that stands for it (`Scheduler.plural`), as it was seen last; None where there is none."""
    is_certain: bool
    """True where such objects are seen at all, so that there is none."""
    seconds: float
    """Since when all its pods are there."""
    is_gated: bool
    """Whether a scheduling gate holds any of its pods."""
    queue: str
    """`scheduling.queueName`."""


Tell = Callable[[Sight], str]
"""Why a gang waits, in the user's words; empty where the scheduler has said nothing that a pod doesn't say better."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """One of them."""

    apis: Sequence[str]
    """Group and version of the objects that stand for gangs: the first that the cluster serves is used."""
    plural: str
    needs: str
    """What must be installed for it, in the user's words."""
    member: Callable[[AttemptSpec], Membership]
    """What makes a rank's pod part of its gang."""
    alone: Callable[[AttemptSpec], Membership]
    """What a scout carries: it goes the same way as a rank would, and is in no gang."""
    group_spec: Callable[[AttemptSpec], Object] | None
    """Spec of the PodGroup that the operator makes; None where the scheduler makes its objects itself."""
    tell: Tell
    queues: bool = False
    """True where it has queues and quotas of its own."""


SILENCE_SECONDS = 10.0
"""Whoever looks after gangs has said something of one by then, if he is there."""
SO_LONG = f"more than {SILENCE_SECONDS:.0f} s"
