"""What pods say of themselves, to who asks and at their end: any bytes at all."""

import asyncio
import json
import random
import sys
from typing import Any
from unittest.mock import patch

from footplate.contract import MAX_PROGRESS_BYTES, Progress, parse_verdict
from footplate.machinery import poller
from footplate.machinery.clock import SystemClock
from footplate.machinery.metrics import Metrics
from footplate.machinery.poller import Poller, Target
from footplate.machinery.slim import slim_pod
from footplate.policy.plan import Observed
from footplate.policy.reconcile import reconcile
from fuzz.grammar import DATES, TEXTS, hostile, mutated
from fuzz.subjects import NODES, check, show
from unit.policy.build import NOW, UID, at, config_map, job, pod, status

SAID = {
    "uid": UID, "run": 1, "attempt": 0, "activity": "training", "resumedFromStep": 4, "productiveNodeSeconds": 7.5,
    "progress": {
        "step": 10, "totalSteps": 20, "percent": 50.0, "etaSeconds": 9, "metrics": {"loss": 0.5},
        "lastStepTime": at(-2),
        "history": {"steps": [1, 10], "metrics": {"loss": [2.0, 0.5]}},
    },
    "checkpoint": {"uri": "s3://c/8/", "step": 8, "time": at(-60), "sizeBytes": 5, "saveSeconds": 1.5},
    "stragglers": [{"rank": 1, "nodeRank": 1, "factor": 2.0}], "notes": ["n"],
}  # fmt: skip


class _OnePod:
    """A poller of one pod, whose answer is given, as bytes of a connection."""

    def __init__(self) -> None:
        self.target = Target(("team", "fashion"), UID, 1, 0, "nowhere")
        self.poller = Poller(list, on_change=lambda _: None, clock=SystemClock(), metrics=Metrics(), interval=1)

    def ask(self, answer: bytes) -> Progress | None:
        """What it takes from these bytes."""
        return asyncio.run(self._ask(answer))

    async def _ask(self, answer: bytes) -> Progress | None:
        reader = asyncio.StreamReader(limit=8_192)
        reader.feed_data(answer)
        reader.feed_eof()

        async def connect(*_: Any, **__: Any) -> Any:
            return reader, _Nobody()

        with patch.object(asyncio, "open_connection", connect):
            await self.poller._take(self.target)
        return self.poller.latest(UID)


class _Nobody:
    def write(self, _: bytes) -> None:
        """It has answered already."""

    def close(self) -> None:
        """Nothing is open."""


def any_answer(rng: random.Random) -> str:
    """What a pod answers who is asked for its progress."""
    raw = SAID if rng.random() < 0.1 else mutated(SAID, rng, most=2) if rng.random() < 0.9 else hostile(rng)
    body = json.dumps(raw).encode(errors="surrogatepass")
    if rng.random() < 0.3:
        body = _spoiled(body, rng)
    if rng.random() < 0.05:
        body += b" " * (MAX_PROGRESS_BYTES + 1)
    head = rng.choice((b"HTTP/1.1 500 x", b"", b"\xff" * 9_000, b"HTTP/1.0 100 C", *[b"HTTP/1.0 200 OK"] * 12))
    date = rng.choice((at(), "Thu, 01 Jan 2026 12:00:00 GMT", "Fri, 99 Foo 99999 99:99:99 +9999", *DATES, *TEXTS[:12]))
    answer = head + b"\r\nDate: " + date.encode(errors="replace") + b"\r\n\r\n" + body
    errors: list[Any] = []
    with patch.object(poller, "log", _Log(errors)):
        polled = _OnePod().ask(answer)
    if errors:
        raise errors[0]
    of = {**job(), "status": status(job())}
    plan = reconcile(
        Observed(of, (pod(0), pod(1)), nodes=NODES, run_config=config_map(job()), progress=polled), now=NOW
    )
    check(plan)
    return "believed" if polled is not None else "not believed"


class _Log:
    """Takes the unexpected, which the poller only logs."""

    def __init__(self, errors: list[Any]) -> None:
        self._errors = errors

    def debug(self, *_: Any, **__: Any) -> None:
        """Lies are no news."""

    def exception(self, *_: Any, **__: Any) -> None:
        self._errors.append(sys.exc_info()[1])


VERDICT = {
    "outcome": "succeeded", "exitCode": 0, "step": 20, "progress": SAID["progress"], "checkpoint": SAID["checkpoint"],
    "artifact": {"uri": "s3://m/", "manifest": "s3://m/manifest.json", "sha256": "0" * 64, "sizeBytes": 5,
                 "metrics": {"loss": 0.1}, "signature": "s3://m/model.sig"},
    "metrics": {"loss": 0.1}, "error": {"rank": 0, "type": "ValueError", "message": "m", "traceback": "t", "time": 1.5},
    "resumedFromStep": 4, "productiveNodeSeconds": 7.5, "notes": ["n"],
}  # fmt: skip


def any_last_words(rng: random.Random) -> str:
    """A termination message, which any program may write."""
    said = json.dumps(mutated(VERDICT, rng)) if rng.random() < 0.8 else rng.choice(TEXTS)
    if rng.random() < 0.2:
        said = _spoiled(said.encode(errors="replace"), rng).decode(errors="replace")
    code = rng.choice((0, 1, 65, 75, 76, 77, 78, 137, -1, 2**40, None, "x"))
    ended = pod(0, phase=rng.choice(("Failed", "Succeeded", "Running")), state={
        "terminated": {"exitCode": code, "message": said, "finishedAt": rng.choice((at(), *DATES))}})  # fmt: skip
    of = {**job(), "status": status(job())}
    pods = [slim_pod(ended), pod(1, phase=rng.choice(("Succeeded", "Running", "Failed")))]
    found = [each for each in pods if each is not None]
    check(reconcile(Observed(of, found, nodes=NODES, run_config=config_map(job())), now=NOW))
    show(of, [ended])
    return "a verdict" if parse_verdict(said) is not None else "no verdict"


def _spoiled(raw: bytes, rng: random.Random) -> bytes:
    """Other bytes, fewer, or more."""
    spoiled = bytearray(raw or b" ")
    for _ in range(rng.randint(1, 8)):
        spoiled[rng.randrange(len(spoiled))] = rng.randrange(256)
    return bytes(spoiled[: rng.randrange(len(spoiled))] if rng.random() < 0.3 else spoiled)
