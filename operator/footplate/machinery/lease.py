"""Leader election by a coordination.k8s.io Lease.

Invariants:
- A candidate takes the lease only after it has itself seen it unchanged for the whole duration written in it, on its
  own monotonic clock. Nobody's wall clock is believed, so skew doesn't matter.
- The leader counts its time from before it sent the renewal, a candidate from after it read it: the leader's time is
  always over first. `remaining` says how much is left, and the client sends no write without.
- Every write carries the resourceVersion of what was read: two that try at once can't both win.
- A clean exit gives the lease back, so the next one need not wait.
- A lease that ran out is lost, though nobody has taken it yet: a process that stood still begins anew.
- Whatever somebody has written into the Lease counts for what can be read of it, and stops nobody.
"""

import structlog

from footplate.errors import Conflict, FootplateError, LeaseLost, NotFound, Refused
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock, micro_time
from footplate.machinery.resources import LEASES
from footplate.objects import Object, block, number, text, time, version_of

log = structlog.get_logger(__name__)

DURATION = 10
"""Seconds without a renewal after which another replica may take over."""
RENEW_DEADLINE = 7.0
"""Seconds without a renewal after which the leader gives up."""
RETRY_PERIOD = 2.0
REQUEST_TIMEOUT = 3.0
"""An API server that takes seconds may still be led from; a renewal that hangs must leave time for another."""

_MARGIN = 1.0

_LONGEST_DURATION = 300
"""No version of this operator writes more: a candidate that believed any number might wait for ever."""

_MOST_TRANSITIONS = 2**31 - 2

_PATIENCE = 30.0
"""Seconds for which an API server may give no answer before that is said."""


def believed_duration(spec: Object) -> float:
    """Seconds for which whoever has written this into a Lease may act without renewing it."""
    duration = number(spec, "leaseDurationSeconds") or 0
    return min(duration, _LONGEST_DURATION) if duration > 0 else DURATION


class Lease:
    """One replica's claim to lead. `client` must be unfenced, try once, and time out after `REQUEST_TIMEOUT`."""

    def __init__(self, client: KubeClient, *, namespace: str, name: str, identity: str, clock: Clock) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._seen: Object | None = None
        self._seen_at = 0.0
        self._renewed_at: float | None = None
        self._failing_since: float | None = None
        self._trouble: str | None = None

    def trouble(self) -> str | None:
        """Why this replica can't come to lead, though nobody else does it in its place."""
        return self._trouble

    def remaining(self) -> float:
        """Seconds for which no other replica may write, less a margin for requests on their way; 0 or less without."""
        if self._renewed_at is None:
            return 0.0
        return self._renewed_at + DURATION - _MARGIN - self._clock.monotonic()

    async def acquire(self) -> None:
        """Waits until this replica leads."""
        while True:
            pause = RETRY_PERIOD
            try:
                await self._look()
                pause = min(RETRY_PERIOD, self._wait())
                if pause <= 0:
                    await self._claim()
                    log.info("lease_acquired", lease=self._name, identity=self._identity)
                    self._note_trouble(None)
                    return
                self._note_trouble(None)
            except Exception as error:
                self._warn("lease_not_acquired", error)
                self._note_trouble(error)
                pause = RETRY_PERIOD
            await self._clock.sleep(pause)

    async def hold(self) -> None:
        """Renews until that fails: `LeaseLost`, while `remaining` still says that nobody else can lead."""
        pause = RETRY_PERIOD
        while True:
            await self._clock.sleep(pause)
            started = self._clock.monotonic()
            if self.remaining() <= 0:
                self._renewed_at = None
                raise LeaseLost(f"lease {self._namespace}/{self._name} ran out while this process stood still")
            try:
                await self._renew()
            except LeaseLost:
                self._renewed_at = None
                raise
            except Exception as error:
                self._warn("lease_not_renewed", error)
                self._give_up_when_due()
            pause = max(0.0, RETRY_PERIOD - (self._clock.monotonic() - started))

    async def release(self) -> None:
        """Gives the lease back, as far as it is ours and the API server can be reached."""
        if self._renewed_at is None:
            return
        self._renewed_at = None
        try:
            await self._write(self._spec(holder="", duration=1))
        except Exception as error:
            self._warn("lease_not_released", error)

    async def _look(self) -> None:
        try:
            lease: Object | None = await self._client.get(LEASES, self._namespace, self._name)
        except NotFound:
            lease = None
        if lease is None or self._seen is None or version_of(lease) != version_of(self._seen):
            self._seen, self._seen_at = lease, self._clock.monotonic()

    @property
    def _seen_spec(self) -> Object:
        return block(self._seen, "spec")

    def _holder(self) -> str:
        return text(self._seen_spec, "holderIdentity")

    def _wait(self) -> float:
        """Seconds until this replica may take what it has seen. Its own name on it is an answer that was lost."""
        if self._seen is None or self._holder() in ("", self._identity):
            return 0.0
        return self._seen_at + believed_duration(self._seen_spec) - self._clock.monotonic()

    async def _claim(self) -> None:
        started = self._clock.monotonic()
        await self._write(self._spec(holder=self._identity, duration=DURATION))
        self._renewed_at = started

    async def _renew(self) -> None:
        try:
            await self._claim()
        except NotFound as error:
            raise LeaseLost(f"lease {self._namespace}/{self._name} was deleted") from error
        except Conflict:
            await self._look()
            if self._holder() != self._identity:
                raise LeaseLost(f"lease {self._namespace}/{self._name} is held by {self._holder()!r}") from None
            await self._claim()

    def _give_up_when_due(self) -> None:
        if self._renewed_at is None or self._clock.monotonic() - self._renewed_at >= RENEW_DEADLINE:
            raise LeaseLost(f"lease {self._namespace}/{self._name} was not renewed for {RENEW_DEADLINE:.0f} s")

    def _spec(self, *, holder: str, duration: int) -> Object:
        old = self._seen_spec
        changes_hands = holder not in ("", self._holder())
        now = micro_time(self._clock.now())
        acquired = text(old, "acquireTime") if time(old, "acquireTime") is not None else now
        transitions = min(max(0, number(old, "leaseTransitions") or 0), _MOST_TRANSITIONS)
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": duration,
            "acquireTime": now if changes_hands else acquired,
            "renewTime": now,
            "leaseTransitions": transitions + (1 if changes_hands and self._seen else 0),
        }

    def _note_trouble(self, error: Exception | None) -> None:
        now = self._clock.monotonic()
        if error is None:
            self._failing_since = self._trouble = None
            return
        self._failing_since = now if self._failing_since is None else self._failing_since
        if isinstance(error, Refused | NotFound) or now - self._failing_since > _PATIENCE:
            self._trouble = f"{self._explain(error)}; without it this replica acts on nothing"

    def _explain(self, error: Exception) -> str:
        lease = f"the Lease {self._namespace}/{self._name}"
        alone = "or run one replica alone, with --no-leader-election (chart: replicas: 1, leaderElection: false)"
        if isinstance(error, NotFound) and "namespaces " in error.message:
            return f"no namespace {self._namespace} for {lease}: create it, or name another one with --lease-namespace"
        if isinstance(error, NotFound):
            return f"the API server serves no Leases ({LEASES.api}): enable them, {alone}"
        if isinstance(error, Refused) and error.status == 403:
            return f"no right to {lease}: grant get, update and create of leases there, {alone} ({error.message})"
        return f"{lease} can't be taken: {error}"

    def _warn(self, event: str, error: Exception) -> None:
        known = isinstance(error, FootplateError)
        log.warning(event, lease=f"{self._namespace}/{self._name}", error=str(error), exc_info=not known)

    async def _write(self, spec: Object) -> None:
        if self._seen is None:
            self._seen = await self._client.create(
                {
                    "apiVersion": LEASES.api,
                    "kind": "Lease",
                    "metadata": {"namespace": self._namespace, "name": self._name},
                    "spec": spec,
                }
            )
        else:
            self._seen = await self._client.replace(LEASES, {**self._seen, "spec": spec})
        self._seen_at = self._clock.monotonic()
