import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from footplate.errors import (
    AlreadyExists,
    ApiUnavailable,
    Conflict,
    FootplateError,
    Gone,
    LeaseLost,
    NotFound,
    Refused,
    Retryable,
    Terminal,
)
from footplate.machinery import client as client_module
from footplate.machinery.client import KubeClient
from footplate.machinery.resources import PODS, Resource
from unit.machinery.support import HurriedClock, client_of, eventually, make


def status(code: int, reason: str = "", message: str = "no", **headers: str) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code, headers=headers)


class Script:
    """Answers one after the other, the last one for ever; remembers the requests."""

    def __init__(self, *answers: Callable[[web.Request], web.Response] | web.Response) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, Any]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, request.path_qs, body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, web.Response):
            return web.Response(body=answer.body, status=answer.status, headers=answer.headers)
        return answer(request)


def cut_off(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def get(client: KubeClient) -> Any:
    return await client.get(PODS, "ns", "a")


async def create(client: KubeClient) -> Any:
    return await client.create(make("a"))


async def delete(client: KubeClient) -> Any:
    return await client.delete(PODS, "ns", "a", uid="u")


async def patch(client: KubeClient) -> Any:
    return await client.patch(PODS, "ns", "a", {"x": 1}, subresource="status")


@pytest.mark.parametrize(
    ("resource", "path"),
    [
        (PODS.path(), "/api/v1/pods"),
        (PODS.path("ns"), "/api/v1/namespaces/ns/pods"),
        (PODS.path("ns", "a", "status"), "/api/v1/namespaces/ns/pods/a/status"),
        (Resource("g/v1", "things").path("", "x"), "/apis/g/v1/things/x"),
    ],
)
def test_paths(resource: str, path: str) -> None:
    assert resource == path


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        pytest.param(404, "NotFound", NotFound, id="404"),
        pytest.param(409, "AlreadyExists", AlreadyExists, id="409 on create"),
        pytest.param(409, "Conflict", Conflict, id="409 on update"),
        pytest.param(410, "Expired", Gone, id="410"),
        pytest.param(403, "Forbidden", Refused, id="403"),
        pytest.param(422, "Invalid", Refused, id="422"),
    ],
)
async def test_a_refusal_is_typed_told_and_not_tried_again(code: int, reason: str, error: type[Exception]) -> None:
    script = Script(status(code, reason, "because"))
    async with client_of(script) as client:
        with pytest.raises(error, match=f"{code} {reason}: because") as caught:
            await create(client)
    assert type(caught.value) is error
    assert len(script.requests) == 1


def test_what_happens_next_is_a_type() -> None:
    assert issubclass(ApiUnavailable, Retryable)
    assert issubclass(Refused, Terminal)
    assert not issubclass(Conflict, Retryable | Terminal)


TROUBLE = [
    pytest.param(status(500), id="500"),
    pytest.param(status(503), id="503"),
    pytest.param(status(429), id="429"),
    pytest.param(cut_off, id="lost answer"),
    pytest.param(web.Response(text="<html>welcome</html>"), id="a proxy's page"),
]
EMPTY = {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "7"}, "items": []}


async def pages(client: KubeClient) -> list[Any]:
    return [page async for page in client.pages(PODS)]


@pytest.mark.parametrize("call", [get, create, delete, patch])
@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_request_is_one_try(call: Callable[[KubeClient], Any], trouble: Any) -> None:
    script, clock = Script(trouble), HurriedClock()
    async with client_of(script, clock=clock) as client:
        with pytest.raises(ApiUnavailable):
            await call(client)
    assert clock.slept == []
    aiohttps_own = call in (get, delete) and trouble is cut_off  # at once, where a connection was cut
    assert len(script.requests) == 1 + aiohttps_own


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_list_goes_on_where_it_was(trouble: Any) -> None:
    script = Script(trouble, trouble, web.json_response(EMPTY))
    async with client_of(script) as client:
        assert await pages(client) == [([], "7")]
    assert len({json.dumps(request) for request in script.requests}) == 1


async def test_the_pause_between_two_tries_of_a_page_doubles_with_jitter() -> None:
    clock = HurriedClock()
    async with client_of(Script(status(503)), clock=clock, tries=4) as client:
        with pytest.raises(ApiUnavailable):
            await pages(client)
    ceilings = (0.1, 0.2, 0.4)
    assert all(ceiling / 2 <= pause <= ceiling for pause, ceiling in zip(clock.slept, ceilings, strict=True))


async def test_trouble_that_stays_is_told() -> None:
    script = Script(status(503, "ServiceUnavailable", "etcd is away"))
    async with client_of(script, tries=3) as client:
        with pytest.raises(ApiUnavailable, match="etcd is away") as caught:
            await pages(client)
    assert caught.value.status == 503
    assert len(script.requests) == 3


async def test_no_page_is_longer_than_can_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAGE_BYTES", 100_000)

    async def handler(request: web.Request) -> web.StreamResponse:
        most = int(request.query["limit"])
        items = [make(f"p{number}", status={"message": "x" * 10_000}) for number in range(min(most, 30))]
        return web.json_response({**EMPTY, "items": items})

    async with client_of(handler) as client:
        for smaller in (100, 20, 4):
            with pytest.raises(ApiUnavailable, match=f"more than 100000 bytes of pods: {smaller} a page from now on"):
                await pages(client)
        [(items, _)] = await pages(client)
    assert len(items) == 4


@pytest.mark.parametrize(
    ("header", "waits"),
    [
        pytest.param("3", 3.0, id="seconds"),
        pytest.param("86400", 60.0, id="too long to believe"),
        pytest.param("Wed, 21 Oct 2026 07:28:00 GMT", 0.05, id="a date"),
    ],
)
async def test_the_server_may_ask_for_time(header: str, waits: float) -> None:
    clock = HurriedClock()
    script = Script(status(429, "TooManyRequests", **{"Retry-After": header}), web.json_response(EMPTY))
    async with client_of(script, clock=clock) as client:
        await pages(client)
    assert waits <= clock.slept[0] <= waits + 0.1


async def test_silence_times_out() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with client_of(hang, tries=1, timeout=0.05) as client:
        with pytest.raises(ApiUnavailable, match="TimeoutError"):
            await get(client)


async def test_html_of_a_proxy_is_a_message() -> None:
    script = Script(web.Response(text="<h1>go away</h1>", status=403))
    async with client_of(script) as client:
        with pytest.raises(Refused, match="go away"):
            await get(client)


async def test_a_delete_names_the_one_it_means() -> None:
    script = Script(web.json_response({"kind": "Status"}))
    async with client_of(script) as client:
        await delete(client)
    assert script.requests[0][2]["preconditions"] == {"uid": "u"}


async def test_lists_come_in_pages_with_their_types() -> None:
    def page(name: str, rest: str) -> web.Response:
        metadata = {"resourceVersion": "7", "continue": rest}
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": metadata, "items": [make(name)]})

    script = Script(page("a", "more"), page("b", ""))
    async with client_of(script) as client:
        pages = [page async for page in client.pages(PODS, selector="x=y")]
    assert [(items[0]["metadata"]["name"], items[0]["kind"], version) for items, version in pages] == [
        ("a", "Pod", "7"),
        ("b", "Pod", "7"),
    ]
    assert "continue=more" in script.requests[1][1]
    assert all("labelSelector=x%3Dy" in path and "limit=500" in path for _, path, _ in script.requests)


class Expiring:
    def __init__(self, *seconds: float) -> None:
        self.seconds = list(seconds)

    def remaining(self) -> float:
        return self.seconds.pop(0)


@pytest.mark.parametrize("call", [create, delete, patch])
async def test_no_write_goes_out_after_the_lease(call: Callable[[KubeClient], Any]) -> None:
    script = Script(web.json_response({}))
    async with client_of(script, fence=Expiring(0.0)) as client:
        with pytest.raises(LeaseLost):
            await call(client)
    assert script.requests == []


async def test_reading_needs_no_lease() -> None:
    async with client_of(Script(web.json_response({})), fence=Expiring()) as client:
        assert await get(client) == {}


async def test_no_write_is_waited_for_longer_than_the_lease_lasts() -> None:
    async def hang(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with client_of(hang, tries=1, fence=Expiring(0.05)) as client:
        with pytest.raises(ApiUnavailable):
            await asyncio.wait_for(create(client), 5)


class Holding:
    """Answers nothing until it lets go; counts what is under way by namespace."""

    def __init__(self) -> None:
        self.under_way: Counter[str] = Counter()
        self.let_go = asyncio.Event()
        self.order: list[str] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        [namespace] = re.findall("namespaces/([^/]+)", request.path) or [""]
        self.order.append(request.path)
        self.under_way[namespace] += 1
        await self.let_go.wait()
        self.under_way[namespace] -= 1
        return web.json_response(EMPTY)


async def test_no_namespace_has_more_than_its_share_under_way() -> None:
    held = Holding()
    async with client_of(held, in_flight=9) as client:
        greedy = [asyncio.create_task(client.create(make(f"p{n}", namespace="greedy"), turn=1 + n)) for n in range(9)]
        await eventually(lambda: held.under_way["greedy"] == 3)
        others = [asyncio.create_task(client.create(make(f"p{n}", namespace="other"), turn=1 + n)) for n in range(9)]
        await eventually(lambda: held.under_way["other"] == 2)
        own = asyncio.create_task(pages(client))
        await eventually(lambda: held.under_way[""] == 1)
        assert held.under_way == {"greedy": 3, "other": 2, "": 1}
        held.let_go.set()
        await asyncio.gather(*greedy, *others, own)
    assert max(held.under_way.values()) == 0


async def test_what_is_urgent_and_low_turns_go_first() -> None:
    held = Holding()
    async with client_of(held, in_flight=6) as client:
        calls = [asyncio.create_task(client.create(make(f"p{turn}"), turn=turn)) for turn in (1, 2, 9, 8)]
        await eventually(lambda: held.under_way["ns"] == 2)
        calls.append(asyncio.create_task(client.patch(PODS, "ns", "status", {})))
        await eventually(lambda: held.under_way["ns"] == 3)
        calls.append(asyncio.create_task(client.create(make("p3"), turn=3)))
        await asyncio.sleep(0.05)
        assert held.under_way["ns"] == 3
        held.let_go.set()
        await asyncio.gather(*calls)
    assert len(held.order) == 6


async def test_a_watch_gives_whole_lines_however_they_come() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in (b'{"n":1}\n{"n":', b"2}\n", b'{"n"', b":3", b'}\n{"n":4'):
            await response.write(piece)
            await asyncio.sleep(0.01)
        return response

    async with client_of(handler) as client:
        batches = [batch async for batch in client.watch(PODS, since="1", inactivity=5)]
    assert batches[0] == []
    assert [event["n"] for batch in batches for event in batch] == [1, 2, 3]


async def test_a_silent_watch_ends() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with client_of(handler) as client:
        batches = [batch async for batch in client.watch(PODS, since="1", inactivity=0.05)]
    assert batches == [[]]


@pytest.mark.parametrize(("code", "error"), [(410, Gone), (403, Refused), (429, ApiUnavailable), (500, ApiUnavailable)])
async def test_a_watch_may_be_refused(code: int, error: type[FootplateError]) -> None:
    async with client_of(Script(status(code))) as client:
        with pytest.raises(error):
            async for _ in client.watch(PODS, since="1", inactivity=1):
                pass


async def test_the_lease_isnt_given_back_before_every_write_has_its_answer() -> None:
    """What is under way is done whenever the API server gets to it."""
    let_go = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await let_go.wait()
        return web.json_response(make("p"))

    async with client_of(answer) as client:
        writing = asyncio.create_task(client.create(make("p")))
        await asyncio.sleep(0.05)
        assert not await client.finish_writes(within=0.01)
        with pytest.raises(LeaseLost):
            await client.create(make("q"))
        finishing = asyncio.create_task(client.finish_writes(within=5))
        let_go.set()
        assert await finishing
        await writing


async def test_a_write_that_was_broken_off_may_still_be_done() -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("never")

    async with client_of(answer) as client:
        writing = asyncio.create_task(client.create(make("p")))
        await asyncio.sleep(0.05)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert not await client.finish_writes(within=1)
