"""What was seen once and must be remembered, since what is gone can't be asked: all pods of an attempt were there, and
which of its ranks are done.

Facts are in the status, in the entry of their attempt, and are never inferred from a phase. Whatever depends on one,
such as deleting a pod that is done, waits until the API server has it.
"""

from collections.abc import Collection
from datetime import datetime
from itertools import pairwise

from footplate.api.status import Attempt, TrainingJobStatus
from footplate.policy.pods import Gang


def with_facts(status: TrainingJobStatus, gang: Gang, *, desired: int, now: datetime) -> TrainingJobStatus:
    """The status with what the pods of its newest attempt show for good."""
    if not status.attempts:
        return status
    *before, last = status.attempts
    created = last.created_time
    if created is None and last.end_time is None and gang.is_whole(desired):
        created = now
    facts = {"created_time": created, "succeeded_ranks": format_ranks(gang.succeeded) or None}
    return status.model_copy(update={"attempts": [*before, last.model_copy(update=facts)]})


def all_created(attempt: Attempt | None) -> bool:
    """True once all pods of an attempt were seen: one that isn't there any more has gone. A gang that ran was whole."""
    return attempt is not None and (attempt.created_time or attempt.running_time) is not None


def format_ranks(ranks: Collection[int]) -> str:
    """Ranks as a Job's completedIndexes has them: "0,2-5"."""
    if not ranks:
        return ""
    ordered = sorted(ranks)
    ends = [before for before, after in pairwise(ordered) if after != before + 1] + [ordered[-1]]
    starts = [ordered[0]] + [after for before, after in pairwise(ordered) if after != before + 1]
    return ",".join(
        str(first) if first == last else f"{first}-{last}" for first, last in zip(starts, ends, strict=True)
    )


def parse_ranks(text: str | None, *, nodes: int) -> frozenset[int]:
    """The ranks below `nodes` in a text; what isn't one in it is left out."""
    ranks: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal() and max(len(first), len(last)) < 8:
            ranks.update(range(int(first), min(int(last or first) + 1, nodes)))
    return frozenset(rank for rank in ranks if rank < nodes)
