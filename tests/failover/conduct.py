"""Carries a schedule out on a site, and says what came of it."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from failover.judge import Record
from failover.member import Member, until
from failover.schedule import KINDS, LASTING, Kind, Schedule, Strike, Whom
from failover.site import OptionsOf, Site
from gateway import rewritten

LOSES_LEASE = frozenset({Kind.KILLED, Kind.FROZEN, Kind.CUT_OFF, Kind.LEASE_CUT})
"""A leader whom this befalls doesn't lead for long."""
RECOVERY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Struck:
    """A leader lost its lease by this, at this time."""

    kind: Kind
    process: str
    at: float
    alone: bool
    """Nothing else was wrong with any replica, nor began before another had acted."""


@dataclass
class Outcome:
    """What came of a schedule."""

    schedule: Schedule
    problems: list[str] = field(default_factory=list)
    failovers: list[tuple[Kind, float]] = field(default_factory=list)
    """Seconds from a leader's last action, or from what befell it, to another's next action, where nothing else was
    wrong."""
    tenures: int = 0
    writes: int = 0
    jobs: int = 0
    strikes: int = 0
    seconds: float = 0.0


async def live_through(
    schedule: Schedule, kubeconfig: Mapping[str, Any], folder: Path, *, options_of: OptionsOf = lambda name: {}
) -> Outcome:
    """One life."""
    began = time.monotonic()
    outcome = Outcome(schedule)
    async with Site(kubeconfig, folder, seed=schedule.seed, options_of=options_of) as site:
        for _ in range(schedule.replicas):
            await site.add()
        await site.begin()
        conductor = _Conductor(site, schedule)
        await conductor.carry_out()
        await site.finish()
        await _judge(site, conductor, outcome)
        await site.clean_up()
    outcome.seconds = time.monotonic() - began
    return outcome


class _Conductor:
    def __init__(self, site: Site, schedule: Schedule) -> None:
        self._site = site
        self._schedule = schedule
        self._chance = random.Random(schedule.seed)
        self._ongoing: set[asyncio.Task[None]] = set()
        self.struck: list[Struck] = []
        self.at: list[float] = []

    async def carry_out(self) -> None:
        for strike in self._schedule.strikes:
            await asyncio.sleep(strike.pause)
            await self._bring(strike)
        await asyncio.gather(*self._ongoing)
        for member in self._site.members:
            await until(member.is_ready, f"{member.name} is ready again", seconds=RECOVERY_SECONDS)
        await until(self._site.leader, "somebody leads again", seconds=RECOVERY_SECONDS)

    async def _bring(self, strike: Strike) -> None:
        if strike.kind is Kind.UPGRADED:
            self._note(strike, None)
            await self._upgrade()
            return
        leader = self._site.leader()
        for member in self._choose(strike.whom, leader):
            self._note(strike, member if member is leader else None)
            self._spawn(_strike(member, strike))

    def _choose(self, whom: Whom, leader: Member | None) -> list[Member]:
        members = self._site.members
        if whom is Whom.ALL:
            return list(members)
        if whom is Whom.LEADER:
            return [leader or members[0]]
        others = [member for member in members if member is not leader]
        return [self._chance.choice(others)]

    def _note(self, strike: Strike, leader: Member | None) -> None:
        now = time.monotonic()
        self.at.append(now)
        if leader is not None and strike.kind in LOSES_LEASE and strike.whom is Whom.LEADER:
            alone = not any(not task.done() for task in self._ongoing)
            self.struck.append(Struck(strike.kind, leader.process, now, alone))

    async def _upgrade(self) -> None:
        """As a Deployment does it: one more, and once that is ready one less."""
        for old in list(self._site.members):
            new = await self._site.add()
            await until(new.is_ready, f"{new.name} is ready", seconds=RECOVERY_SECONDS)
            await self._site.retire(old)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._ongoing.add(task)


async def _strike(member: Member, strike: Strike) -> None:
    begin = {
        Kind.KILLED: member.kill,
        Kind.FROZEN: member.freeze,
        Kind.CUT_OFF: member.wire.cut,
        Kind.WATCHES_SILENT: member.gateway.flowing.clear,
        Kind.LEASE_CUT: member.cut_lease,
        Kind.SLOW: lambda: member.slow_down(strike.delay),
        Kind.FLAPPING: member.flap,
        Kind.STEPPED: lambda: member.set_clock_ahead(3600 * strike.hours),
    }
    assert begin.keys() | {Kind.UPGRADED} == set(KINDS)
    begin[strike.kind]()
    if strike.kind in LASTING:
        await asyncio.sleep(strike.seconds)
        member.thaw()
        member.mend()


async def _judge(site: Site, conductor: _Conductor, outcome: Outcome) -> None:
    record = site.record()
    outcome.problems += [f"wrote without the lease: {each}" for each in record.outside()]
    outcome.problems += [f"harmed: {each}" for each in await site.harmed()]
    outcome.problems += [f"done twice: {each}" for each in rewritten([each.write for each in record.sent])]
    outcome.problems += [f"invariant: {each}" for each in site.witness.violations]
    outcome.problems += [f"stuck: {each}" for each in site.stuck]
    outcome.problems += [f"{each.name} ended with {_bad_ends(each)}" for each in site.members if _bad_ends(each)]
    outcome.failovers = _failovers(record, conductor)
    outcome.tenures, outcome.writes = len(record.tenures()), len(record.actions())
    outcome.jobs, outcome.strikes = site.told, len(outcome.schedule.strikes)


def _bad_ends(member: Member) -> list[int]:
    """Killed, or gave up the lease: anything else is a crash."""
    return [code for code in member.ends if code not in (-9, 1)]


def _failovers(record: Record, conductor: _Conductor) -> list[tuple[Kind, float]]:
    found = []
    for struck in conductor.struck:
        since = max(struck.at, _last_before(record, struck))
        then = record.next_action(after=struck.at, but=struck.process)
        later = [at for at in conductor.at if at > struck.at]
        if struck.alone and then is not None and not any(at < then for at in later):
            found.append((struck.kind, then - since))
    return found


def _last_before(record: Record, struck: Struck) -> float:
    """A leader that can't renew acts on until it gives up."""
    [tenure] = [each for each in record.tenures() if each.process == struck.process and each.since <= struck.at][-1:]
    times = [e.write.ended for e in record.actions() if e.process == struck.process and e.write.ended <= tenure.until]
    return max(times, default=0.0)
