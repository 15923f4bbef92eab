from datetime import timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from aiohttp import web

from footplate.machinery.clock import SystemClock, wall_time
from footplate.machinery.contact import Contact, Pace, tell_time
from unit.machinery.support import FakeClock, HurriedClock, serve


class Server:
    def __init__(self) -> None:
        self.status = 200

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if not self.status:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=self.status or 200)


@pytest.mark.parametrize(("status", "problem"), [(404, "404 Not Found"), (0, "ServerDisconnectedError")])
async def test_a_path_fails_from_its_first_failure_in_a_row_on(status: int, problem: str) -> None:
    clock, server = FakeClock(), Server()
    contact = Contact(clock=clock)
    async with serve(server) as url, aiohttp.ClientSession(middlewares=[contact]) as session:

        async def ask(path: str) -> None:
            try:
                async with session.get(f"{url}{path}?watch=1"):
                    pass
            except aiohttp.ClientError:
                assert not status

        await ask("/jobs")
        server.status = status
        await ask("/jobs")
        await clock.advance(100)
        await ask("/jobs")
        assert contact.failing_for(100) == {}
        await clock.advance(1)
        [(path, said)] = contact.failing_for(100).items()
        assert (path, problem in said) == ("/jobs", True)
        server.status = 200
        await ask("/runtimes")
        assert list(contact.failing_for(100)) == ["/jobs"]
        await ask("/jobs")
        assert contact.failing_for(0) == {}


@pytest.mark.parametrize("odd", [{"Date": "yesterday"}, {"Date": ""}])
async def test_every_answer_tells_the_time(odd: dict[str, str]) -> None:
    there = wall_time().replace(microsecond=0) - timedelta(hours=2)
    dates = iter([{"Date": format_datetime(there, usegmt=True)}, odd])

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(headers=next(dates))

    clock = SystemClock()
    async with serve(answer) as url, aiohttp.ClientSession(middlewares=[tell_time(clock)]) as session:
        for _ in range(2):
            await (await session.get(url)).read()
    assert abs(clock.now() - there) < timedelta(minutes=1)


async def test_watches_that_end_as_soon_as_they_began_wait_longer_and_longer() -> None:
    """kopf asks for the next one at once, for ever."""
    clock = HurriedClock()
    async with serve(Server()) as url, aiohttp.ClientSession(middlewares=[Pace(clock=clock)]) as session:

        async def ask(path: str) -> None:
            async with session.get(f"{url}{path}"):
                pass

        await ask("/jobs?watch=1")
        await ask("/runtimes?watch=1")
        assert clock.slept == []
        for _ in range(10):
            await ask("/jobs?watch=1")
        assert len(clock.slept) == 10
        assert clock.slept[0] <= 0.1
        assert sum(clock.slept) > 20
        assert max(clock.slept) <= 10
        await clock.sleep(60)
        clock.slept.clear()
        await ask("/jobs?watch=1")
        for _ in range(5):
            await ask("/jobs?limit=500")  # pages of a list
        assert clock.slept == []
