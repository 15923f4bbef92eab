"""The line of all jobs whose namespaces have a quota, kept as jobs, policies and priority classes change. It wakes only
the jobs for which the answer is another one.

Nothing in it is known to this process alone but for moments: that a job was told that it may begin, or must give back,
counts as done until its status says so, so that two looks at once never give the same accelerators away. Who doesn't
follow within `PATIENCE_SECONDS` isn't counted on, nor waited for.
"""

import asyncio
import random
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from footplate.machinery.clock import Clock, Timer
from footplate.objects import Key, Object, block, key_of, number, text
from footplate.policy.claims import Book, Claim, Quota
from footplate.policy.plan import Admission
from footplate.policy.queue import Give, Settlement, settle
from footplate.policy.queue_words import place_in_line, why_it_gives, why_it_never_fits, why_it_waits
from footplate.policy.quota import claim_of
from footplate.policy.share import TAKES_ITS_PLACE

PATIENCE_SECONDS = 120.0
"""Longer than any write of a status takes, tries included."""

PASSED_OVER_SECONDS = 600.0
"""How long a job isn't asked again that was told to begin, or to give back, and didn't."""

_LOOK_SECONDS = 120.0
_LAST_LOOK_SECONDS = 600.0
"""How often words are renewed: of the first ten of a namespace every two minutes, of those behind them less often."""

_ROUND_SECONDS = 0.05
"""Between news and a round: where a thousand jobs come at once, each of them changes little."""

_LOOK_MARGIN = 0.5


class Line:
    """Answers what a job may do. `runtime_of` and `jobs_in` read the stores."""

    def __init__(
        self,
        enqueue: Callable[[Key], None],
        *,
        clock: Clock,
        quotas: Callable[[], Mapping[str, Quota]],
        jobs_in: Callable[[str], Iterable[Object]],
        runtime_of: Callable[[Object], Object | None],
    ) -> None:
        self._enqueue = enqueue
        self._clock = clock
        self._find_quotas = quotas
        self._jobs_in = jobs_in
        self._runtime_of = runtime_of
        self._book = Book()
        self._seen: dict[Key, Claim] = {}
        self._granted: dict[Key, tuple[int, float]] = {}
        self._told: dict[Key, tuple[Give, float]] = {}
        self._passed_over: dict[Key, float] = {}
        self._deaf: dict[Key, float] = {}
        self._ranks: dict[str, int] = {}
        self._default_rank = 0
        self._quotas_stale = True
        self._stale = True
        self._done = Settlement()
        self._woken: dict[Key, Any] = {}
        self._words_due: dict[Key, tuple[bool, float]] = {}
        self._timer: Timer | None = None
        self._news = asyncio.Event()

    def job_changed(self, key: Key, job: Object | None) -> None:
        """A job appeared, changed or went."""
        if key[0] not in self._book.quotas:
            return
        claim = None if job is None else claim_of(job, self._runtime_of(job), rank=self._rank)
        if claim == self._seen.get(key):
            return
        self._follow(key, claim)
        self._put(key)

    def left_behind(self, key: Key, left: Claim | None) -> None:
        """What pods hold beyond what their job does, under a key of its own; None where that is nothing."""
        if left == self._book.claims.get(key):
            return
        self._book.drop(key)
        if left is not None:
            self._book.put(left)
        self._stale = True
        self._note()

    def quotas_changed(self) -> None:
        """Policies, or the namespaces that they select, are others."""
        self._quotas_stale = True
        self._note()

    def classes_changed(self, classes: Iterable[Object]) -> None:
        """The cluster's PriorityClasses are these."""
        values = {text(block(each, "metadata"), "name"): number(each, "value") or 0 for each in classes}
        default = next((number(each, "value") or 0 for each in classes if each.get("globalDefault") is True), 0)
        steps = sorted({0, *values.values()})
        self._ranks = {name: bisect_left(steps, value) for name, value in values.items()}
        self._default_rank = bisect_left(steps, default)
        self._read_again(self._book.quotas)

    def admission_of(self, job: Object) -> Admission | None:
        """What the line says of a job, as of the last round; None where its namespace has no quota. What it is told
        counts as done.
        """
        key = key_of(job)
        self._read_quotas()
        quota, claim = self._book.quotas.get(key[0]), self._book.claims.get(key)
        if quota is None:
            return None
        limited = frozenset(quota.own)
        if claim is None:
            return Admission(limited)
        if key in self._done.grants and key not in self._granted:
            self._granted[key] = self._done.grants[key], self._now()
            self._put(key)
        if key in self._done.gives and key not in self._told:
            self._told[key] = self._done.gives[key], self._now()
            self._put(key)
        untold = text(block(job, "status"), "message") in ("", TAKES_ITS_PLACE)
        return self._answer(self._seen[key], quota, limited, untold=untold)

    async def run(self) -> None:
        """Decides, and wakes jobs, until cancelled: of news that come together once."""
        while True:
            await self._news.wait()
            await self._clock.sleep(_ROUND_SECONDS)
            self._news.clear()
            self.settle()
            answers = {**self._done.grants, **self._done.gives}
            for key, answer in answers.items():
                if self._woken.get(key) != answer:
                    self._enqueue(key)
            self._woken = answers
            self._look_later()

    def _answer(self, claim: Claim, quota: Quota, limited: frozenset[str], *, untold: bool) -> Admission:
        granted, told = self._granted.get(claim.key), self._told.get(claim.key)
        if granted is not None:
            return Admission(limited, nodes=granted[0])
        if told is not None:
            return Admission(limited, keeps=told[0].nodes, why=why_it_gives(self._book, claim, told[0]))
        if claim.holds:
            return Admission(limited)
        hopeless = not quota.allows(claim, self._book.pool)
        place, _ = place_in_line(self._book, claim)
        look = min(_LOOK_SECONDS * (1 + place // 10), _LAST_LOOK_SECONDS)
        left = 0.0 if untold else self._seconds_to_words(claim, look, hopeless=hopeless)
        if left > 0:
            return Admission(limited, hopeless=hopeless, look=left)
        if hopeless:
            return Admission(limited, why=why_it_never_fits(self._book, claim), hopeless=True, look=look)
        why = why_it_waits(self._book, claim, is_reserved=claim.key in self._done.reserved)
        return Admission(limited, why=why, look=look)

    def _seconds_to_words(self, claim: Claim, look: float, *, hopeless: bool) -> float:
        """Seconds until a job is told anew how it stands, 0 for now: in turns, so that neither a busy line nor a new
        leader writes thousands of statuses that say little.
        """
        now = self._now()
        said, due = self._words_due.setdefault(claim.key, (hopeless, now + look * random.random()))
        if said == hopeless and due > now:
            return due - now
        self._words_due[claim.key] = hopeless, now + look
        return 0.0

    def settle(self) -> None:
        """One round: decides who may begin, and who must give back."""
        now = self._now()
        self._read_quotas()
        self._lose_patience(now)
        due = self._done.look is not None and self._done.look <= now
        if self._stale or due:
            self._stale = False
            self._done = settle(self._book, now=now)

    def _read_quotas(self) -> None:
        if not self._quotas_stale:
            return
        self._quotas_stale = False
        before, quotas = self._book.quotas, self._find_quotas()
        changed = {name for name in before.keys() | quotas.keys() if before.get(name) != quotas.get(name)}
        if not changed:
            return
        self._book.set_quotas(quotas)
        self._done = Settlement()  # what the others allowed doesn't hold any more
        self._woken = {}
        self._stale = True  # of a namespace without jobs, too: the pool is another
        self._read_again(changed)
        for namespace in changed:
            for job in self._jobs_in(namespace):
                self._enqueue(key_of(job))

    def _read_again(self, namespaces: Iterable[str]) -> None:
        for namespace in namespaces:
            for job in self._jobs_in(namespace):
                key = key_of(job)
                listed = namespace in self._book.quotas
                self._follow(key, claim_of(job, self._runtime_of(job), rank=self._rank) if listed else None)
                self._put(key)

    def _follow(self, key: Key, claim: Claim | None) -> None:
        """Takes note of what a job's status says, and of what it was told and has done. What the last round said of it
        was of what it held before: told again, it would never be asked to give back what it now holds.
        """
        for answers in (self._done.grants, self._done.gives, self._woken):
            answers.pop(key, None)
        granted, told = self._granted.get(key), self._told.get(key)
        if granted is not None and (claim is None or claim.holds >= granted[0] or claim.leaves is not None):
            del self._granted[key]
        if told is not None and (claim is None or claim.leaves is not None or claim.holds <= told[0].nodes):
            del self._told[key]
        self._passed_over.pop(key, None)
        self._deaf.pop(key, None)
        if claim is None:
            self._seen.pop(key, None)
            self._words_due.pop(key, None)
        else:
            self._seen[key] = claim

    def _put(self, key: Key) -> None:
        """Enters a job's claim into the book, as it will be once it has done what it was told."""
        claim = self._seen.get(key)
        if claim is None:
            self._book.drop(key)
        else:
            if key in self._granted:
                nodes, at = self._granted[key]
                claim = replace(claim, holds=nodes, wants=max(nodes, claim.wants), changed=at)
            if key in self._told:
                claim = replace(claim, leaves=self._told[key][0].nodes)
            if key in self._passed_over:
                claim = replace(claim, wants=claim.holds)
            if key in self._deaf:
                claim = replace(claim, leaves=claim.holds)  # as one that gives nothing more
            self._book.put(claim)
        self._stale = True
        self._note()

    def _lose_patience(self, now: float) -> None:
        for key in [key for key, (_, at) in self._granted.items() if at + PATIENCE_SECONDS < now]:
            del self._granted[key]
            self._passed_over[key] = now + PASSED_OVER_SECONDS
            self._put(key)
        for key in [key for key, (_, at) in self._told.items() if at + PATIENCE_SECONDS < now]:
            del self._told[key]
            self._deaf[key] = now + PASSED_OVER_SECONDS
            self._put(key)
        for waiting in (self._passed_over, self._deaf):
            for key in [key for key, until in waiting.items() if until < now]:
                del waiting[key]
                self._put(key)

    def _note(self) -> None:
        self._news.set()

    def _look_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        waits = [self._done.look] if self._done.look is not None else []
        waits += [at + PATIENCE_SECONDS for _, at in (*self._granted.values(), *self._told.values())]
        waits += [*self._passed_over.values(), *self._deaf.values()]
        self._timer = None
        if waits:
            seconds = max(0.0, min(waits) - self._now()) + _LOOK_MARGIN
            self._timer = self._clock.call_later(seconds, self._news.set)

    def _rank(self, name: str) -> int:
        return self._ranks.get(name, self._default_rank)

    def _now(self) -> float:
        return self._clock.now().timestamp()
