"""Who may read the operator's /metrics, and that nobody gets in where nobody can say."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from footplate.machinery.metrics import Metrics
from footplate.machinery.probes import Probes
from footplate.machinery.scrape_auth import BAD_SECONDS, GOOD_SECONDS, MAX_REMEMBERED, UNKNOWN_AT_ONCE, ScrapeAuth
from unit.machinery.support import FakeClock, client_of

USER = {"username": "system:serviceaccount:mon:prom", "groups": ["g"], "uid": "u", "extra": {"k": ["v"]}}


class Api:
    """An API server that knows some tokens."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.users: dict[str, Any] = {"good": USER, "nobody": {"username": "nobody"}}
        self.may = {"system:serviceaccount:mon:prom"}
        self.asked: list[Any] = []
        self.answer: web.Response | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        review = await request.json()
        self.asked.append(review)
        await self.gate.wait()
        if self.answer is not None:
            return web.Response(status=self.answer.status, body=self.answer.body)
        if review["kind"] == "TokenReview":
            assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
            user = self.users.get(review["spec"]["token"])
            status = {"authenticated": True, "user": user} if user else {"error": "unknown"}
        else:
            assert request.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            status = {"allowed": review["spec"]["user"] in self.may}
        return web.json_response({**review, "status": status}, status=201)

    @asynccontextmanager
    async def auth(self) -> AsyncIterator[ScrapeAuth]:
        async with client_of(self.handle, clock=self.clock) as client:
            yield ScrapeAuth(client, clock=self.clock)


@pytest.fixture
def api() -> Api:
    return Api()


@pytest.mark.parametrize(
    ("header", "judgement", "asked"),
    [
        ("Bearer good", 200, 2),
        ("bearer  good ", 200, 2),
        ("Bearer nobody", 403, 2),
        ("Bearer bad", 401, 1),
        ("Bearer \udce9\ud800", 401, 0),
        ("Basic good", 401, 0),
        ("good", 401, 0),
        ("Bearer ", 401, 0),
        ("", 401, 0),
    ],
)
async def test_the_api_server_says_who_it_is_and_what_he_may(api: Api, header: str, judgement: int, asked: int) -> None:
    async with api.auth() as auth:
        assert await auth.judge(header) == judgement
    assert len(api.asked) == asked


async def test_all_that_is_known_of_the_user_is_asked_about(api: Api) -> None:
    async with api.auth() as auth:
        await auth.judge("Bearer good")
    wanted = {"path": "/metrics", "verb": "get"}
    user = {"user": USER["username"], **{key: USER[key] for key in ("groups", "uid", "extra")}}
    assert api.asked[1]["spec"] == {**user, "nonResourceAttributes": wanted}


async def test_a_judgement_holds_for_a_while(api: Api) -> None:
    async with api.auth() as auth:
        for _ in range(5):
            assert [await auth.judge(f"Bearer {each}") for each in ("good", "bad")] == [200, 401]
        assert len(api.asked) == 3
        del api.users["good"]
        await api.clock.advance(GOOD_SECONDS + 1)
        assert await auth.judge("Bearer good") == 401
        api.users["good"] = USER
        await api.clock.advance(BAD_SECONDS + 1)
        assert await auth.judge("Bearer good") == 200


@pytest.mark.parametrize("status", [200, 403, 404, 429, 500])
async def test_without_an_answer_nobody_gets_in_and_it_is_asked_again(api: Api, status: int) -> None:
    api.answer = web.Response(status=status, text="?")
    async with api.auth() as auth:
        assert await auth.judge("Bearer good") == 503
        api.answer = None
        assert await auth.judge("Bearer good") == 200
        api.answer = web.json_response({"status": "no object"})
        await api.clock.advance(GOOD_SECONDS + 1)
        assert await auth.judge("Bearer good") == 401


async def test_strangers_make_us_ask_little_and_keep_nobody_out(api: Api) -> None:
    async with api.auth() as auth:
        assert await auth.judge("Bearer good") == 200
        before = len(api.asked)
        judged = [await auth.judge(f"Bearer stranger-{number}") for number in range(5_000)]
        assert len(api.asked) - before == UNKNOWN_AT_ONCE - 1
        assert {*judged} == {401, 503}
        await api.clock.advance(GOOD_SECONDS + 1)
        for number in range(5_000):
            await auth.judge(f"Bearer stranger-{number}")
        assert await auth.judge("Bearer good") == 200, "one that was good is asked for whoever floods"
        assert len(auth._bad.entries) <= MAX_REMEMBERED


async def test_who_asks_at_the_same_time_shares_an_answer(api: Api) -> None:
    api.gate.clear()
    async with api.auth() as auth:
        many = [asyncio.create_task(auth.judge("Bearer good")) for _ in range(50)]
        await asyncio.sleep(0)
        many[0].cancel()
        api.gate.set()
        assert await asyncio.gather(*many[1:]) == [200] * 49
        assert len(api.asked) == 2


async def test_metrics_are_served_to_whom_is_let_in_and_probes_to_everybody() -> None:
    async def judge(authorization: str) -> int:
        return {"Bearer good": 200, "Bearer nobody": 403, "Bearer slow": 503}.get(authorization, 401)

    served = Probes(host="127.0.0.1", port=0, metrics=Metrics(), alive=dict, ready=dict, judge=judge)
    async with served as probes, aiohttp.ClientSession(f"http://127.0.0.1:{probes.port}") as session:

        async def ask(path: str, token: str | None = None) -> tuple[int, str]:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            async with session.get(path, headers=headers) as response:
                assert (response.headers.get("WWW-Authenticate") == "Bearer") is (response.status != 200)
                return response.status, await response.text()

        assert [(await ask(path))[0] for path in ("/livez", "/readyz")] == [200, 200]
        assert "footplate_leader" in (await ask("/metrics", "good"))[1]
        for token, status in ((None, 401), ("bad", 401), ("nobody", 403), ("slow", 503)):
            found, text = await ask("/metrics", token)
            assert found == status
            assert "footplate_leader" not in text
