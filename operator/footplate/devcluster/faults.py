"""Faults to order: what a test tells the API server to do to its clients.

A rule matches requests by method, path and User-Agent, and picks all, the n-th, or a share of them. A write
hook sees every mutating request with its number, so that a test can sweep over all writes of a run.
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Request:
    """A request as rules and hooks see it; `sequence` counts the mutating requests from 1 (0 for reads)."""

    method: str
    path: str
    agent: str
    body: bytes = b""
    sequence: int = 0


@dataclass(frozen=True)
class Fault:
    """What happens to a request: a delay in seconds, then an answer that isn't one.

    `status` answers that code with nothing done. `cut` closes the connection: `before` the write is
    committed, or `after`, when it is committed but the answer is lost.
    """

    delay: float = 0.0
    status: int = 0
    retry_after: int | None = None
    cut: Literal["", "before", "after"] = ""


@dataclass(frozen=True)
class WatchFault:
    """What happens to a watch when it has sent `after` lines and has another one: it is cut, cut within that line, or
    falls silent. `lag` delivers everything `seconds` late.
    """

    kind: Literal["cut", "half-line", "stall", "lag"]
    after: int = 0
    seconds: float = 0.0


@dataclass
class Rule:
    """A fault with the requests it is for. `hits` counts the requests it matched, `done` those it struck."""

    fault: Fault | WatchFault
    method: re.Pattern[str]
    path: re.Pattern[str]
    agent: re.Pattern[str]
    nth: int | None
    rate: float
    hits: int = 0
    done: int = 0

    def strikes(self, request: Request, rng: random.Random) -> bool:
        """Whether it strikes this request, which counts as a hit if it matches."""
        pairs = ((self.method, request.method), (self.path, request.path), (self.agent, request.agent))
        if not all(pattern.search(text) for pattern, text in pairs):
            return False
        self.hits += 1
        struck = self.hits == self.nth if self.nth else rng.random() < self.rate
        self.done += struck
        return struck


@dataclass
class Faults:
    """The faults in force. `seed` makes rates repeatable."""

    seed: int = 0
    rules: list[Rule] = field(default_factory=list)
    _hooks: list[Callable[[Request], Fault | None]] = field(default_factory=list)
    _watches: dict[Callable[[], Any], Request] = field(default_factory=dict)
    _writes: int = 0

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def add(
        self, fault: Fault | WatchFault, *, method: str = "", path: str = "", agent: str = "",
        nth: int | None = None, rate: float = 1.0,
    ) -> Rule:  # fmt: skip
        """Put a fault in force; patterns are searched for, and `nth` counts from 1 the requests they match."""
        rule = Rule(fault, re.compile(method), re.compile(path), re.compile(agent), nth, rate)
        self.rules.append(rule)
        return rule

    def clear(self) -> None:
        """No more faults, rules or hooks."""
        self.rules.clear()
        self._hooks.clear()

    def on_write(self, hook: Callable[[Request], Fault | None]) -> None:
        """Call `hook` with every mutating request, before it is handled; what it returns happens."""
        self._hooks.append(hook)

    def next_write(self) -> int:
        """The number of the next mutating request."""
        self._writes += 1
        return self._writes

    def judge(self, request: Request) -> Fault | None:
        """The fault for a request, hooks first."""
        for hook in self._hooks if request.sequence else ():
            if fault := hook(request):
                return fault
        struck = (
            rule.fault for rule in self.rules if isinstance(rule.fault, Fault) and rule.strikes(request, self._rng)
        )
        return next(struck, None)

    def judge_watch(self, request: Request) -> WatchFault | None:
        """The fault for a watch that begins."""
        struck = (
            rule.fault for rule in self.rules if isinstance(rule.fault, WatchFault) and rule.strikes(request, self._rng)
        )
        return next(struck, None)

    def watch_began(self, request: Request, close: Callable[[], Any]) -> None:
        """A watch is live; `close` breaks its connection."""
        self._watches[close] = request

    def watch_ended(self, close: Callable[[], Any]) -> None:
        """The watch is over."""
        self._watches.pop(close, None)

    def watches(self, *, path: str = "", agent: str = "") -> int:
        """How many watches are live."""
        return len(self._matching(path, agent))

    def cut_watches(self, *, path: str = "", agent: str = "") -> int:
        """Break the connections of live watches, and say how many."""
        matching = self._matching(path, agent)
        for close in matching:
            close()
        return len(matching)

    def _matching(self, path: str, agent: str) -> list[Callable[[], Any]]:
        return [
            close for close, request in self._watches.items()
            if re.search(path, request.path) and re.search(agent, request.agent)
        ]  # fmt: skip
