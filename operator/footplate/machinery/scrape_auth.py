"""Who may read the operator's /metrics, where that is asked: whom the API server knows by his token (TokenReview), and
lets get the path /metrics (SubjectAccessReview), as kube-rbac-proxy does it.

Fails closed: without an answer nobody gets in. What is remembered is bounded, and so is what strangers can make us ask:
`UNKNOWN_PER_SECOND` tokens that were never good. One that was good is asked for again whoever floods.
"""

import asyncio
import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field

import structlog

from footplate.errors import FootplateError
from footplate.machinery.client import KubeClient
from footplate.machinery.clock import Clock
from footplate.objects import Object, block, text

log = structlog.get_logger(__name__)

OK, UNAUTHENTICATED, FORBIDDEN, UNAVAILABLE = 200, 401, 403, 503

GOOD_SECONDS = 60.0
"""A token that is revoked opens for so much longer."""
BAD_SECONDS = 10.0
MAX_REMEMBERED = 256
"""Tokens of each kind, the good and the bad."""
UNKNOWN_PER_SECOND = 5.0
UNKNOWN_AT_ONCE = 20.0


@dataclass
class _Memory:
    """Judgements by a token's digest, each until a time; the one that was used least lately makes room."""

    entries: "OrderedDict[bytes, tuple[int, float]]" = field(default_factory=OrderedDict)

    def find(self, digest: bytes) -> tuple[int, float] | None:
        if digest in self.entries:
            self.entries.move_to_end(digest)
        return self.entries.get(digest)

    def keep(self, digest: bytes, judgement: int, until: float) -> None:
        self.entries[digest] = judgement, until
        self.entries.move_to_end(digest)
        while len(self.entries) > MAX_REMEMBERED:
            self.entries.popitem(last=False)


class ScrapeAuth:
    """Judges `Authorization` headers, as HTTP statuses: 200, 401, 403, and 503 where nobody can say."""

    def __init__(self, client: KubeClient, *, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._good, self._bad = _Memory(), _Memory()
        self._asking: dict[bytes, asyncio.Task[int]] = {}
        self._room = UNKNOWN_AT_ONCE
        self._filled = clock.monotonic()

    async def judge(self, authorization: str) -> int:
        """What becomes of a request with this header; empty where it has none."""
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token or not token.isascii():
            return UNAUTHENTICATED
        digest = hashlib.sha256(token.encode()).digest()
        known, now = self._good.find(digest), self._clock.monotonic()
        for found in (known, self._bad.find(digest)):
            if found is not None and now < found[1]:
                return found[0]
        if digest not in self._asking:
            if known is None and not self._has_room(now):
                return UNAVAILABLE
            self._asking[digest] = asyncio.create_task(self._ask(token, digest))
        return await asyncio.shield(self._asking[digest])

    def _has_room(self, now: float) -> bool:
        self._room = min(UNKNOWN_AT_ONCE, self._room + UNKNOWN_PER_SECOND * (now - self._filled))
        self._filled = now
        if self._room < 1:
            return False
        self._room -= 1
        return True

    async def _ask(self, token: str, digest: bytes) -> int:
        try:
            judgement = await self._review(token)
        except FootplateError as error:
            log.warning("scrape_not_judged", error=str(error))
            return UNAVAILABLE
        finally:
            del self._asking[digest]
        now = self._clock.monotonic()
        if judgement == OK:
            self._good.keep(digest, judgement, now + GOOD_SECONDS)
        else:
            self._bad.keep(digest, judgement, now + BAD_SECONDS)
            self._good.entries.pop(digest, None)
        return judgement

    async def _review(self, token: str) -> int:
        told = await self._client.create(
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "metadata": {}, "spec": {"token": token}}
        )
        status = block(told, "status")
        if status.get("authenticated") is not True or status.get("error"):
            return UNAUTHENTICATED
        allowed = await self._client.create(_may_read_metrics(block(status, "user")))
        return OK if block(allowed, "status").get("allowed") is True else FORBIDDEN


def _may_read_metrics(user: Object) -> Object:
    asked = {"user": text(user, "username"), **{key: user[key] for key in ("groups", "uid", "extra") if key in user}}
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {},
        "spec": {**asked, "nonResourceAttributes": {"path": "/metrics", "verb": "get"}},
    }
