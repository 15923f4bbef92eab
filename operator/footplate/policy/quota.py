"""What raw objects say of the line. A namespace's quota, of the TrainingPolicies that select it: of each resource the
smallest counts, and what one of them doesn't lend isn't lent. And a job's claim, from its status alone: nothing that
the line knows is lost with the process.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from footplate.api.quantities import amount
from footplate.api.status import Phase
from footplate.gangs import kueue, volcano
from footplate.gangs.kinds import GangKind
from footplate.gangs.table import SCHEDULERS
from footplate.objects import Key, Object, block, blocks, key_of, number, text, time
from footplate.policy.claims import Claim, Quota

LOAN_SECONDS = 600

_QUANTITY = re.compile("[0-9]{1,6}k?")
_MAX_NAME = 253
_MOST_NAMES = 16


def quota_of(policies: Iterable[Object]) -> Quota | None:
    """The quota of a namespace that these raw policies select; None where none of them names one."""
    quotas = [raw for policy in policies if block(raw := block(policy, "spec", "quota"), "accelerators")]
    if not quotas:
        return None
    own: dict[str, int] = {}
    most: dict[str, int | None] = {}
    for raw in quotas:
        for name in block(raw, "accelerators"):
            own[name] = min(_count(block(raw, "accelerators"), name), own.get(name, 2**31))
    for name, count in own.items():
        limits = [_lent(raw, name) for raw in quotas if name in block(raw, "accelerators")]
        most[name] = min((count + limit for limit in limits if limit is not None), default=None)
    loan = min(_count(raw, "loanSeconds", default=LOAN_SECONDS) for raw in quotas)
    return Quota(own, most, float(loan))


def claim_of(job: Object, runtime: Object | None, *, rank: Callable[[str], int]) -> Claim | None:
    """What a raw job holds and wants; None where it isn't in the line.

    Args:
        job: the job. One that runs, and has no place in the line yet, holds what its spec asks for.
        runtime: its runtime, None where it has none.
        rank: by the name of a PriorityClass, how many classes are below it.
    """
    status = block(job, "status")
    phase, place = text(status, "phase"), block(status, "queue")
    if phase in ("", Phase.SUSPENDED, Phase.SUCCEEDED, Phase.FAILED):
        return None
    if not place:
        return _of_running(job, runtime, rank=rank)
    holds, wants = number(place, "nodes") or 0, number(place, "wanted") or 0
    if not holds and (phase != Phase.QUEUED or block(job, "metadata").get("deletionTimestamp")):
        return None
    changed = _seconds(place, "changedTime")
    each = block(place, "accelerators")
    leaves = place.get("leaves")
    return Claim(
        key=key_of(job),
        each=tuple((name, count) for name in sorted(each) if (count := number(each, name)) and count > 0),
        wants=max(holds, wants),
        least=number(place, "least") or 1,
        since=_seconds(place, "since"),
        rank=rank(text(place, "priorityClassName")),
        holds=holds,
        changed=changed,
        saves=place.get("saves") is True,
        saved=_seconds(block(status, "checkpoint"), "time") > changed,
        leaves=leaves if isinstance(leaves, int) else None,
    )


def held_by(pod: Object) -> dict[str, int]:
    """What a raw pod holds of resources with a maker's domain, by name; nothing where another queue counts it."""
    labels, annotations = (block(pod, "metadata", field) for field in ("labels", "annotations"))
    if kueue.QUEUE_NAME in labels or volcano.GROUP_NAME in annotations:
        return {}
    held: Counter[str] = Counter()
    for container in blocks(block(pod, "spec"), "containers"):
        held.update(_devices(block(container, "resources", "limits")))
    return dict(held.most_common(_MOST_NAMES))


def _devices(limits: Object) -> dict[str, int]:
    """What limits say of resources with a maker's domain, where it is a number that any node could have."""
    named = {name: str(many) for name, many in limits.items() if "/" in name and len(name) <= _MAX_NAME}
    counts = {name: int(amount(many)) for name, many in named.items() if _QUANTITY.fullmatch(many)}
    return {name: count for name, count in counts.items() if count > 0}


def leftover_of(held: Mapping[str, int], job: Object | None, *, key: Key) -> Claim | None:
    """The claim of a job's pods on nodes beyond what it holds; None where there is nothing.

    Args:
        held: what its pods on nodes hold, by resource name.
        job: the job as it is; None for one that is deleted, which holds nothing any more.
        key: of the claim.
    """
    place, own = block(job, "status", "queue"), None
    if place:
        own = claim_of(job or {}, None, rank=lambda name: 0)
        held = {name: held.get(name, 0) for name in block(place, "accelerators")}
    elif blocks(block(job, "status"), "attempts"):
        return None  # it has begun without the line, and counts as a whole, or in another queue
    mine = own.amount(own.holds) if own is not None else {}
    each = tuple((name, left) for name in sorted(held) if (left := held[name] - mine.get(name, 0)) > 0)
    return Claim(key=key, each=each, wants=1, least=1, since=0.0, holds=1, is_left=True) if each else None


def held_without_line(of_attempt: int | None, asked: int) -> int:
    """Nodes that a job holds which has begun without the line: those of its gang. An elastic one asks before it grows.

    Args:
        of_attempt: nodes of its newest attempt; None or 0 where that doesn't say, as an old operator's.
        asked: nodes that its spec asks for.
    """
    return of_attempt or asked


def _of_running(job: Object, runtime: Object | None, *, rank: Callable[[str], int]) -> Claim | None:
    """The claim of a job that has begun without the line, and has pods that train. Whom another queue lets in isn't
    counted here: it would never be asked for what it holds, and others would wait for it for ever.
    """
    status, spec = block(job, "status"), block(job, "spec")
    attempt: Object = next(reversed(blocks(status, "attempts")), {})
    asked = number(spec, "nodes") or number(block(runtime, "spec"), "nodes") or 1
    nodes = held_without_line(number(attempt, "nodes"), asked)
    limits = {**block(runtime, "spec", "resources", "limits"), **block(spec, "resources", "limits")}
    # What the run was started with: a runtime may be edited meanwhile, by the tenant who wrote it too.
    each = _devices(block(status, "resolved", "accelerators") or limits)
    is_over = attempt.get("endTime") and text(status, "phase") != Phase.RESTARTING
    has_pods = attempt.get("createdTime") or attempt.get("runningTime")
    if is_over or not has_pods or attempt.get("stage") or _is_queued_elsewhere(text(attempt, "gang")):
        return None
    return Claim(
        key=key_of(job),
        each=(*sorted(each.items()),),
        wants=nodes,
        least=nodes,
        since=_seconds(status, "startTime"),
        rank=rank(text(block(spec, "scheduling"), "priorityClassName")),
        holds=nodes,
        changed=_seconds(attempt, "startTime"),
    )


def _is_queued_elsewhere(gang: str) -> bool:
    return gang in SCHEDULERS and SCHEDULERS[GangKind(gang)].queues


def _seconds(raw: Object, field: str) -> float:
    """A time in seconds since 1970; 0 where there is none."""
    found = time(raw, field)
    return 0.0 if found is None else found.timestamp()


def _lent(raw: Object, name: str) -> int | None:
    """What one policy lends of a resource; None where it sets no limit."""
    if "borrowing" not in raw:
        return 0
    limit = block(raw, "borrowing", "limit")
    return _count(limit, name) if name in limit else None


def _count(raw: Object, name: str, *, default: int = 0) -> int:
    found = number(raw, name)
    return default if found is None else max(0, found)
