"""What is asked of a Prometheus that the platform named, and what is believed of its answers."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from footplate.errors import ConfigurationError
from footplate.machinery import prometheus as module
from footplate.machinery.metrics import Metrics
from footplate.machinery.prometheus import Prometheus, PrometheusError, Sample, check_url
from footplate.machinery.settings import OperatorSettings
from footplate.machinery.suspects import Suspects
from unit.machinery.support import FakeClock

SERIES = [{"metric": {"node": "a", "gpu": "3"}, "value": [1, "79"]}, {"metric": {"node": "b"}, "value": [1, "NaN"]}]
FOUND = {"status": "success", "data": {"resultType": "vector", "result": SERIES}}
WHY = "XID 79 (GPU has fallen off the bus) of GPU 3"
Ask = Callable[[Prometheus], Awaitable[None]]


def serve(answer: Callable[[], web.Response], ask: Ask) -> None:
    """Runs `ask` against a server that answers so."""

    async def handle(request: web.Request) -> web.Response:
        assert (request.method, request.path) == ("POST", "/below/api/v1/query")
        return answer()

    async def run() -> None:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            async with Prometheus(f"http://127.0.0.1:{runner.addresses[0][1]}/below/") as prometheus:
                await ask(prometheus)
        finally:
            await runner.cleanup()

    asyncio.run(run())


def test_samples_are_series_with_a_finite_value() -> None:
    async def ask(prometheus: Prometheus) -> None:
        assert await prometheus.query("up") == [Sample({"node": "a", "gpu": "3"}, 79.0)]

    serve(lambda: web.json_response(FOUND), ask)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(lambda: web.Response(status=500, text="no"), "answers 500: b'no'", id="an error"),
        pytest.param(lambda: web.Response(status=302, headers={"Location": "http://169.254.169.254/"}), "answers 302",
                     id="a redirect, not followed"),
        pytest.param(lambda: web.Response(text="<html>"), "isn't Prometheus'", id="HTML"),
        pytest.param(lambda: web.json_response([]), "isn't Prometheus'", id="another JSON"),
        pytest.param(lambda: web.json_response({"data": {"resultType": "vector", "result": [{"metric": 1}]}}),
                     "isn't Prometheus'", id="no series"),
        pytest.param(lambda: web.json_response({"data": {"resultType": "scalar"}}), "no vector but 'scalar'", id="one"),
        pytest.param(lambda: web.Response(body=b" " * (module.MAX_ANSWER_BYTES + 1)), "more than", id="too large"),
    ],
)  # fmt: skip
def test_what_is_no_answer(answer: Callable[[], web.Response], words: str) -> None:
    async def ask(prometheus: Prometheus) -> None:
        with pytest.raises(PrometheusError, match=words):
            await prometheus.query("up")

    serve(answer, ask)


def test_nobody_there_is_no_answer() -> None:
    async def ask() -> None:
        async with Prometheus("http://127.0.0.1:1") as prometheus:
            with pytest.raises(PrometheusError, match="doesn't answer"):
                await prometheus.query("up")

    asyncio.run(ask())


@pytest.mark.parametrize(
    "url", ["prometheus:9090", "ftp://p", "http://", "http://u:p@p:9090", "http://p?x=1", "http://p#x"]
)
def test_an_address_that_is_none_ends_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--prometheus: .* can't be asked; write http://"):
        OperatorSettings(prometheus=url)
    check_url("https://p.monitoring:9090/tenant")


def test_a_suspect_is_one_for_an_hour_and_trouble_makes_none() -> None:
    answers = iter([FOUND, None, FOUND])

    class Said:
        async def __aenter__(self) -> Prometheus:
            return self  # type: ignore[return-value]

        async def __aexit__(self, *_: object) -> None:
            """Nothing to close."""

        async def query(self, promql: str) -> list[Sample]:
            answer = next(answers, {"data": {"resultType": "vector", "result": []}})
            if answer is None:
                raise PrometheusError("away")
            return module._samples(module.orjson.dumps(answer))

    async def run() -> None:
        clock, metrics = FakeClock(), Metrics()
        suspects = Suspects(Said(), lambda: ["a", "b"], clock=clock, metrics=metrics)  # type: ignore[arg-type]
        assert suspects.now() == {}
        task = asyncio.create_task(suspects.run())
        await clock.advance(1)
        assert suspects.now() == {"a": WHY}
        await clock.advance(30)
        assert suspects.now() == {"a": WHY}
        count = metrics.registry.get_sample_value
        assert count("footplate_prometheus_queries_total", {"result": "failed"}) == 1
        assert count("footplate_suspect_nodes") == 1
        await clock.advance(3600)
        assert suspects.now() == {}
        assert count("footplate_suspect_nodes") == 0
        assert not task.done()
        task.cancel()

    asyncio.run(run())
