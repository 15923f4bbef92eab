import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from footplate.machinery.clock import SystemClock
from footplate.machinery.metrics import Metrics
from footplate.machinery.reflector import Reflector
from footplate.machinery.resources import PODS
from footplate.machinery.store import Store
from unit.machinery.support import client_of, eventually, make


class FakePods:
    """A collection of pods with one revision, lists, and watches that tests write to, cut and stall."""

    def __init__(self) -> None:
        self.revision = 10
        self.pods: dict[str, dict[str, Any]] = {}
        self.queries: list[dict[str, str]] = []
        self.watches: list[web.StreamResponse] = []
        self.list_answers: list[int] = []
        self.watch_answers: list[int] = []
        self.ended = asyncio.Event()
        self.began = asyncio.Event()

    @property
    def lists(self) -> int:
        return sum("watch" not in query for query in self.queries)

    @property
    def watched_since(self) -> list[str]:
        return [query["resourceVersion"] for query in self.queries if "watch" in query]

    def put(self, name: str, **rest: Any) -> dict[str, Any]:
        self.revision += 1
        self.pods[name] = make(name, version=self.revision, **rest)
        return {"type": "ADDED", "object": self.pods[name]}

    def delete(self, name: str) -> dict[str, Any]:
        self.revision += 1
        pod = self.pods.pop(name)
        return {
            "type": "DELETED",
            "object": {**pod, "metadata": {**pod["metadata"], "resourceVersion": str(self.revision)}},
        }

    def bookmark(self) -> dict[str, Any]:
        self.revision += 5
        return {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": str(self.revision)}}}

    async def send(self, *events: dict[str, Any]) -> None:
        await self.send_bytes(b"".join(json.dumps(event).encode() + b"\n" for event in events))

    async def send_bytes(self, data: bytes) -> None:
        await self.watches[-1].write(data)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        answers = self.watch_answers if "watch" in request.query else self.list_answers
        if answers:
            code = answers.pop(0)
            return web.json_response({"kind": "Status", "code": code, "message": "no"}, status=code)
        return await self._watch(request) if "watch" in request.query else self._list()

    def _list(self) -> web.Response:
        metadata = {"resourceVersion": str(self.revision)}
        items = list(self.pods.values())
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        self.ended.clear()
        response = web.StreamResponse()
        await response.prepare(request)
        self.watches.append(response)
        self.began.set()
        await self.ended.wait()
        return response


@pytest.fixture
def pods() -> FakePods:
    return FakePods()


@asynccontextmanager
async def reflecting(pods: FakePods, **options: Any) -> AsyncIterator[tuple[Store, Reflector]]:
    store = Store(on_change=lambda old, new: None)
    clock = SystemClock()
    async with client_of(pods.handle, clock=clock) as client:
        reflector = Reflector(
            client,
            PODS,
            store,
            clock=clock,
            metrics=Metrics(),
            selector="footplate.dev/managed-by=footplate",
            **options,
        )
        task = asyncio.create_task(reflector.run())
        try:
            yield store, reflector
        finally:
            assert not task.done(), "nothing but cancellation ends a reflector"
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            pods.ended.set()


async def watching(pods: FakePods, *, count: int = 1) -> None:
    await eventually(lambda: len(pods.watches) >= count, state=lambda: pods.queries)


def names(store: Store) -> set[str]:
    return {name for _, name in store.objects()}


async def test_lists_then_watches_what_has_the_label(pods: FakePods) -> None:
    pods.put("a")
    async with reflecting(pods) as (store, reflector):
        await watching(pods)
        assert reflector.synced.is_set()
        assert names(store) == {"a"}
        await pods.send(pods.put("b"), pods.delete("a"))
        await eventually(lambda: names(store) == {"b"})
    assert pods.lists == 1
    assert all(query["labelSelector"] == "footplate.dev/managed-by=footplate" for query in pods.queries)


async def test_a_cut_watch_goes_on_where_it_was(pods: FakePods) -> None:
    async with reflecting(pods) as (store, _):
        await watching(pods)
        await pods.send(pods.put("a"), pods.bookmark())
        await eventually(lambda: names(store) == {"a"})
        seen = str(pods.revision)
        pods.ended.set()
        await watching(pods, count=2)
    assert pods.watched_since == ["10", seen]
    assert pods.lists == 1


async def test_half_a_line_counts_for_nothing(pods: FakePods) -> None:
    async with reflecting(pods) as (store, _):
        await watching(pods)
        await pods.send(pods.put("a"))
        line = json.dumps(pods.put("b")).encode()
        await pods.send_bytes(line[: len(line) // 2])
        await eventually(lambda: names(store) == {"a"})
        pods.ended.set()
        await watching(pods, count=2)
        assert names(store) == {"a"}
        await pods.send_bytes(line[: len(line) // 2])
        await pods.send_bytes(line[len(line) // 2 :] + b"\n")
        await eventually(lambda: names(store) == {"a", "b"})
    assert pods.lists == 1


@pytest.mark.parametrize("how", ["as an event", "as an answer"])
async def test_what_was_deleted_in_a_gap_is_gone_after_410(pods: FakePods, how: str) -> None:
    pods.put("kept")
    pods.put("gone")
    async with reflecting(pods) as (store, _):
        await watching(pods)
        pods.delete("gone")
        pods.put("new")
        if how == "as an event":
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            await pods.send({"type": "ERROR", "object": gone})
        else:
            pods.watch_answers.append(410)
        pods.ended.set()
        await watching(pods, count=2)
        assert names(store) == {"kept", "new"}
    assert pods.lists == 2


async def test_a_silent_watch_is_made_anew(pods: FakePods) -> None:
    async with reflecting(pods, inactivity=0.1) as (store, _):
        await watching(pods, count=2)
        await pods.send(pods.put("a"))
        await eventually(lambda: names(store) == {"a"})
    assert pods.lists == 1


async def test_everything_is_listed_again_now_and_then(pods: FakePods) -> None:
    async with reflecting(pods, relist_after=0.2, inactivity=0.1) as (store, _):
        await watching(pods)
        pods.put("the watch lost this")
        await eventually(lambda: pods.lists >= 3)
        assert names(store) == {"the watch lost this"}


@pytest.mark.parametrize("code", [403, 404, 410, 500])
async def test_a_refused_list_is_tried_again(pods: FakePods, code: int) -> None:
    pods.put("a")
    pods.list_answers = [code]
    async with reflecting(pods) as (store, reflector):
        await asyncio.wait_for(reflector.synced.wait(), 5)
        assert names(store) == {"a"}


async def test_an_error_event_other_than_410_lists_nothing_anew(pods: FakePods) -> None:
    async with reflecting(pods):
        await watching(pods)
        await pods.send({"type": "ERROR", "object": {"code": 500, "reason": "InternalError", "message": "etcd"}})
        pods.ended.set()
        await watching(pods, count=2)
    assert pods.lists == 1


async def test_watches_that_end_at_once_are_not_made_in_a_rush(pods: FakePods) -> None:
    async with reflecting(pods):
        for count in range(1, 5):
            await watching(pods, count=count)
            pods.ended.set()
        started = asyncio.get_running_loop().time()
        await watching(pods, count=5)
        assert asyncio.get_running_loop().time() - started > 0.5


async def test_garbage_in_a_watch_is_survived(pods: FakePods) -> None:
    async with reflecting(pods) as (store, _):
        await watching(pods)
        await pods.send_bytes(b"{nonsense\n")
        pods.ended.set()
        await watching(pods, count=2)
        await pods.send({"type": "ADDED", "object": {}})
        pods.ended.set()
        await watching(pods, count=3)
        await pods.send(pods.put("a"))
        await eventually(lambda: names(store) == {"a"})


async def test_its_age_is_the_time_since_it_last_heard_anything(pods: FakePods) -> None:
    async with reflecting(pods) as (_, reflector):
        await watching(pods)
        await eventually(lambda: reflector.age() > 0.2)
        await pods.send(pods.bookmark())
        await eventually(lambda: reflector.age() < 0.1)


async def test_refresh_shows_what_a_silent_watch_doesnt(pods: FakePods) -> None:
    """And the watch goes on from that list: what it had still to show is old."""
    pods.put("gone")
    async with reflecting(pods) as (store, reflector):
        await watching(pods)
        pods.delete("gone")
        pods.put("new")
        await asyncio.wait_for(reflector.refresh(), 5)
        assert names(store) == {"new"}
        assert pods.lists == 2
        await watching(pods, count=2)
        assert pods.watched_since[-1] == str(pods.revision)


async def test_refresh_waits_for_a_list_that_began_after_it(pods: FakePods) -> None:
    began, answer = asyncio.Event(), asyncio.Event()
    listing = pods._list

    async def handle(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            return await FakePods._watch(pods, request)
        response = listing()
        if not began.is_set():
            began.set()
            await answer.wait()  # an answer of before, that comes after
        return response

    pods.handle = handle  # type: ignore[method-assign]
    async with reflecting(pods) as (store, reflector):
        await began.wait()
        pods.put("new")
        refreshing = asyncio.create_task(reflector.refresh())
        await asyncio.sleep(0)
        answer.set()
        await asyncio.wait_for(refreshing, 5)
        assert names(store) == {"new"}


async def test_refresh_interrupts_a_pause_and_waits_until_a_list_works(pods: FakePods) -> None:
    pods.list_answers = [500] * 3
    async with reflecting(pods) as (store, reflector):
        await eventually(lambda: pods.lists >= 1)
        pods.put("a")
        await asyncio.wait_for(asyncio.gather(reflector.refresh(), reflector.refresh()), 10)
        assert names(store) == {"a"}


@pytest.mark.parametrize("how", ["a watch that shows something and ends", "410 at once", "410 after a moment"])
async def test_no_server_makes_it_hurry(pods: FakePods, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses grow: neither watches nor lists follow each other in a rush."""
    pauses: list[float] = []

    def remember(failures: int, **_: Any) -> float:
        pauses.append(failures)
        return 0.01

    monkeypatch.setattr("footplate.machinery.reflector.pause_after", remember)

    async def speak() -> None:
        while True:
            await pods.began.wait()
            pods.began.clear()
            if how == "410 after a moment":
                await asyncio.sleep(0.02)
            if how.startswith("410"):
                await pods.send({"type": "ERROR", "object": {"code": 410, "reason": "Expired", "message": "old"}})
            else:
                await pods.send(pods.put(f"pod-{pods.revision}"))
            pods.ended.set()

    async with reflecting(pods):
        speaking = asyncio.create_task(speak())
        await eventually(lambda: len(pauses) >= 6, state=lambda: pauses)
        speaking.cancel()
    assert pauses[:6] == [1, 2, 3, 4, 5, 6]
