"""A cluster with quotas in simulated time: jobs arrive, the line decides, gangs run, stop and go on. And the same
arrivals in one line, first come, first served.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count

from footplate.objects import Key
from footplate.policy.claims import Book, Claim, Quota
from footplate.policy.queue import Settlement, settle

GPU = "nvidia.com/gpu"
HOUR, DAY, WEEK = 3600.0, 86_400.0, 7 * 86_400.0


@dataclass
class Job:
    """One job: how long it works on all its nodes, and what became of it."""

    key: Key
    arrives: float
    nodes: int
    work: float
    """Seconds of work on all its nodes."""
    each: int = 4
    rank: int = 0
    least: int | None = None
    saves: bool = True
    done: float = 0.0
    started: float | None = None
    finished: float | None = None
    reclaimed: int = 0
    waited: float = 0.0
    """Seconds in the line, all times together."""

    @property
    def accelerators(self) -> int:
        return self.nodes * self.each


@dataclass
class Report:
    """What came of one simulation."""

    jobs: Sequence[Job]
    pool: int
    held_seconds: float = 0.0
    useful_seconds: float = 0.0
    reclaims: int = 0
    violations: list[str] = field(default_factory=list)
    longest_right: float = 0.0
    """The longest that a job waited that its namespace's quota had room for."""
    settles: int = 0

    def utilisation(self, seconds: float) -> float:
        """Share of the pool that was held, from 0 to 1."""
        return self.held_seconds / (self.pool * seconds)

    def goodput(self, seconds: float) -> float:
        """Share of the pool that trained what stood in the end, from 0 to 1."""
        return self.useful_seconds / (self.pool * seconds)

    def waits(self, namespace: str) -> tuple[float, float]:
        """Mean and worst wait until the first start, in hours; who never started has waited until the end."""
        waits = [job.started - job.arrives for job in self.jobs if job.key[0] == namespace and job.started is not None]
        return sum(waits) / max(1, len(waits)) / HOUR, max(waits, default=0.0) / HOUR


def arrivals(seed: int, quotas: Mapping[str, int], *, seconds: float, load: float) -> list[Job]:
    """Random jobs, whose work adds up to about `load` of the pool. Namespaces are busy at different times."""
    rng, jobs, numbers = random.Random(seed), list[Job](), count()
    for namespace, quota in quotas.items():
        budget, phase = load * quota * seconds, rng.uniform(0, DAY)
        while budget > 0:
            nodes = rng.choice([1, 1, 1, 2, 2, 4])
            each = rng.choice([1, 2, 4, 4, 8])
            while nodes * each > quota:
                nodes, each = max(1, nodes // 2), max(1, each // 2)
            work = min(rng.lognormvariate(8.6, 1.1), DAY)
            day = rng.randrange(max(1, int(seconds // DAY))) * DAY
            arrives = min(day + (phase + rng.betavariate(2, 2) * DAY / 2) % DAY, seconds)
            budget -= work * nodes * each
            key = (namespace, f"job-{next(numbers):05d}")
            jobs.append(Job(key, arrives, nodes, work, each, rng.choice([0, 0, 0, 1, 2]), saves=rng.random() < 0.9))
    return sorted(jobs, key=lambda job: (job.arrives, job.key))


class World:
    """Time passes from event to event. `stop_seconds`: how long a gang takes to save and stop; `start_seconds`: how
    long each of its starts trains nothing.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        quotas: Mapping[str, Quota],
        *,
        stop_seconds: float = 60.0,
        start_seconds: float = 120.0,
    ) -> None:
        self.jobs = {job.key: replace(job) for job in jobs}
        self.book = Book.of((), quotas)
        self.stop_seconds, self.start_seconds = stop_seconds, start_seconds
        self.report = Report([*self.jobs.values()], sum(quota.own.get(GPU, 0) for quota in quotas.values()))
        self.now = 0.0
        self.until = 0.0
        self._events: list[tuple[float, int, str, Key, float]] = []
        self._numbers = count()
        self._since: dict[Key, float] = {}
        self._rightful: dict[Key, float] = {}
        for job in jobs:
            self._plan(job.arrives, "arrives", job.key)

    def run(self, until: float, *, finish: bool = False) -> Report:
        """Plays until then; where `finish` says so, until all that was begun or waits is done."""
        self.until = until
        while self._events and (finish or self._events[0][0] <= until):
            time, _, what, key, of = heapq.heappop(self._events)
            if what == "ends" and of != self._since.get(key):
                continue
            self._pass(time)
            getattr(self, f"_{what}")(key)
            while self._events and self._events[0][0] == time:
                _, _, what, key, of = heapq.heappop(self._events)
                if what != "ends" or of == self._since.get(key):
                    getattr(self, f"_{what}")(key)
            self._settle()
        if not finish:
            self._pass(until)
        return self.report

    def _plan(self, time: float, what: str, key: Key) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), what, key, self._since.get(key, 0.0)))

    def _pass(self, time: float) -> None:
        within = max(0.0, min(time, self.until) - min(self.now, self.until))
        self.report.held_seconds += within * self.book.total[GPU]
        self.now = time

    def _arrives(self, key: Key) -> None:
        job = self.jobs[key]
        least = job.least or job.nodes
        each = ((GPU, job.each),) if job.each else ()
        self.book.put(Claim(key, each, job.nodes, least, self.now, job.rank, changed=self.now, saves=job.saves))
        self._since[key] = self.now

    def _ends(self, key: Key) -> None:
        self._account(key)
        self.jobs[key].finished = self.now
        self.book.drop(key)

    def _look(self, key: Key) -> None:
        """Only time has passed."""

    def _stops(self, key: Key) -> None:
        claim, job = self.book.claims[key], self.jobs[key]
        nodes = claim.leaves or 0
        self._since[key] = self.now
        self.book.put(replace(claim, holds=nodes, leaves=None, changed=self.now))
        if nodes:
            self._start(job, nodes)

    def _account(self, key: Key) -> None:
        job, nodes = self.jobs[key], self.book.claims[key].holds
        began = self._since[key] + self.start_seconds
        share = nodes / job.nodes
        job.done = min(job.work, job.done + max(0.0, self.now - began) * share)
        self.report.useful_seconds += max(0.0, min(self.now, self.until) - began) * share * job.accelerators

    def _start(self, job: Job, nodes: int) -> None:
        self._since[job.key] = self.now
        left = (job.work - job.done) * job.nodes / nodes
        self._plan(self.now + self.start_seconds + left, "ends", job.key)

    def _settle(self) -> None:
        """Until nothing more happens at this moment."""
        for _ in range(50):
            done = settle(self.book, now=self.now)
            self.report.settles += 1
            self._carry_out(done)
            self._judge()
            if done.look is not None:
                self._plan(done.look, "look", ("", ""))
            if not done.grants and not done.gives:
                return
        raise AssertionError("the line doesn't come to rest")

    def _carry_out(self, done: Settlement) -> None:
        for key, nodes in done.grants.items():
            claim, job = self.book.claims[key], self.jobs[key]
            if claim.holds:
                self._account(key)
            else:
                job.waited += self.now - self._since[key]
            job.started = self.now if job.started is None else job.started
            self.book.put(replace(claim, holds=nodes, changed=self.now, saved=job.saves))
            self._start(job, nodes)
        for key, give in done.gives.items():
            claim, job = self.book.claims[key], self.jobs[key]
            self._account(key)
            if not job.saves:
                self.report.useful_seconds -= job.done * job.accelerators
                job.done = 0.0
            job.reclaimed += 1
            self.report.reclaims += 1
            self.book.put(replace(claim, leaves=give.nodes))
            self._since[key] = self.now
            self._plan(self.now + self.stop_seconds, "stops", key)

    def _judge(self) -> None:
        """What must hold at every moment."""
        book, bad = self.book, self.report.violations
        if book.total[GPU] > self.report.pool:
            bad.append(f"{self.now}: {book.total[GPU]} of {self.report.pool} are held")
        for namespace, quota in book.quotas.items():
            most = quota.most[GPU]
            if most is not None and book.used[namespace][GPU] > most:
                bad.append(f"{self.now}: {namespace} holds {book.used[namespace][GPU]} of {most}")
        self._judge_rights()

    def _judge_rights(self) -> None:
        """How long the first of a line waits though the quota of its namespace has room for it."""
        rightful = {}
        for namespace, line in self.book.lines.items():
            claim = self.book.claims[line[0][1]]
            room = self.book.quotas[namespace].own[GPU] - self.book.used[namespace][GPU]
            if claim.amount(claim.goal - claim.holds).get(GPU, 0) <= room:
                rightful[claim.key] = self._rightful.get(claim.key, self.now)
                self.report.longest_right = max(self.report.longest_right, self.now - rightful[claim.key])
        self._rightful = rightful


def first_come(jobs: Sequence[Job], pool: int, *, seconds: float, start_seconds: float = 120.0) -> Report:
    """The same jobs in one line, without quotas: whoever came first goes first, and the rest waits behind."""
    report = Report([replace(job) for job in jobs], pool)
    line = sorted(report.jobs, key=lambda job: (job.arrives, job.key))
    ends: list[tuple[float, int]] = []
    free, now = pool, 0.0
    for job in line:
        now = max(now, job.arrives)
        while ends and (ends[0][0] <= now or free < job.accelerators):
            end, given = heapq.heappop(ends)
            now, free = max(now, end), free + given
        job.started, job.finished = now, now + start_seconds + job.work
        free -= job.accelerators
        heapq.heappush(ends, (job.finished, job.accelerators))
        within = max(0.0, min(job.finished, seconds) - min(now, seconds))
        report.held_seconds += within * job.accelerators
        report.useful_seconds += max(0.0, within - start_seconds) * job.accelerators
    return report


def by_namespace(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """The jobs of each."""
    found: defaultdict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        found[job.key[0]].append(job)
    return dict(found)
