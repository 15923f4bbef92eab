"""Other operators that act on jobs which this one serves too: whether they live.

One lives as long as its Lease is held, and was seen to be renewed within the time written in it, on our own monotonic
clock. One of which nothing can be learnt lives: its jobs are left alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import structlog

from footplate.errors import FootplateError, NotFound
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.machinery.lease import believed_duration
from footplate.machinery.resources import LEASES
from footplate.objects import Key, Object, block, text, version_of

log = structlog.get_logger(__name__)

LOOK_AGAIN_SECONDS = 15.0
"""After so long a job of another operator is looked at again."""

_ASK_SECONDS = 2.0
_MOST_NAMED = 5


@dataclass(slots=True)
class _Other:
    """What is known of one."""

    version: str | None = None
    seen_at: float = 0.0
    asked_at: float = float("-inf")
    lives: bool = True
    jobs: set[Key] = field(default_factory=set)


class Others:
    """`own` is the Lease of this operator, as `namespace/name`; empty without one."""

    def __init__(self, client: KubeClient, *, own: str, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._others: dict[str, _Other] = {}
        self.own = own

    async def has(self, key: Key, owner: str) -> bool:
        """Whether the job of this key, whose status names `owner`, is another's who lives."""
        self.forget(key)
        if owner in ("", self.own):
            return False
        other = self._others.setdefault(owner, _Other())
        now = self._clock.monotonic()
        if now - other.asked_at >= _ASK_SECONDS:
            other.asked_at = now
            await self._ask(owner, other)
        if other.lives:
            if not other.jobs:
                log.error("another_operator_acts_here", operator=owner, job="/".join(key))
            other.jobs.add(key)
        return other.lives

    def forget(self, key: Key) -> None:
        """There is no such job, or it is nobody else's."""
        for other in self._others.values():
            other.jobs.discard(key)

    def problems(self) -> Mapping[str, str]:
        """What to say of it, for /readyz."""
        found = {owner: other.jobs for owner, other in self._others.items() if other.jobs}
        return {f"operator {owner}": _describe(jobs) for owner, jobs in found.items()}

    async def _ask(self, owner: str, other: _Other) -> None:
        namespace, _, name = owner.partition("/")
        try:
            lease = await self._client.get(LEASES, namespace, name) if namespace and name else {}
        except NotFound:
            lease = {}
        except FootplateError as error:
            log.warning("other_operator_not_known", operator=owner, error=str(error))
            other.lives = True
            return
        other.lives = self._is_held(lease, other)

    def _is_held(self, lease: Object, other: _Other) -> bool:
        spec, now = block(lease, "spec"), self._clock.monotonic()
        if not text(spec, "holderIdentity"):
            return False
        if version_of(lease) != other.version:
            other.version, other.seen_at = version_of(lease), now
        return now - other.seen_at < believed_duration(spec)


def _describe(jobs: set[Key]) -> str:
    namespaces = sorted({namespace for namespace, _ in jobs})
    named = ", ".join(namespaces[:_MOST_NAMED]) + (", …" if len(namespaces) > _MOST_NAMED else "")
    return (
        f"acts on {len(jobs)} jobs that this operator serves too, in {named}: they are left to it. Uninstall one of "
        "the two, or let each serve namespaces of its own (chart: namespaces)"
    )
