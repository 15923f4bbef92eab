"""All schedulers of gangs, and what an attempt's objects carry for its own."""

from collections.abc import Mapping

from footplate.attempt_spec import AttemptSpec
from footplate.gangs import coscheduling, kueue, native, volcano
from footplate.gangs.kinds import GangKind
from footplate.gangs.scheduler import Membership, Scheduler

SCHEDULERS: Mapping[GangKind, Scheduler] = {
    GangKind.KUEUE: kueue.SCHEDULER,
    GangKind.COSCHEDULING: coscheduling.SCHEDULER,
    GangKind.VOLCANO: volcano.SCHEDULER,
    GangKind.NATIVE: native.SCHEDULER,
}


def membership(gang: AttemptSpec) -> Membership:
    """What a rank's pod carries."""
    return SCHEDULERS[gang.gang].member(gang) if gang.gang in SCHEDULERS else Membership()


def scout_membership(gang: AttemptSpec) -> Membership:
    """What a scout carries."""
    return SCHEDULERS[gang.gang].alone(gang) if gang.gang in SCHEDULERS else Membership()
