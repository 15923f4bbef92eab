import aiohttp
import pytest

from footplate.errors import ConfigurationError
from footplate.machinery.metrics import Metrics
from footplate.machinery.probes import Probes
from unit.machinery.support import make_job


async def ask(probes: Probes, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{probes.port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_probes_tell_what_is_wrong() -> None:
    problems: dict[str, str] = {}
    metrics = Metrics()
    async with Probes(host="127.0.0.1", port=0, metrics=metrics, alive=dict, ready=lambda: problems) as probes:
        assert await ask(probes, "/livez") == (200, "ok\n")
        assert await ask(probes, "/readyz") == (200, "ok\n")
        problems["pods"] = "not listed yet"
        assert await ask(probes, "/readyz") == (503, "pods: not listed yet\n")
        assert (await ask(probes, "/livez"))[0] == 200


async def test_counters_are_there_before_they_count() -> None:
    metrics = Metrics()
    metrics.jobs.serve(lambda: [make_job("a", status={"phase": "Running"})])
    async with Probes(host="127.0.0.1", port=0, metrics=metrics, alive=dict, ready=dict) as probes:
        _, text = await ask(probes, "/metrics")
    assert 'footplate_gang_restarts_total{class="hang"} 0.0' in text
    assert 'footplate_api_requests_total{code="5xx",resource="pods",verb="create"} 0.0' in text
    assert 'footplate_jobs{namespace="ns",phase="Running"} 1.0' in text
    assert 'footplate_jobs{namespace="ns",phase="Failed"} 0.0' in text
    assert "footplate_leader 0.0" in text


async def test_a_port_in_use_is_named() -> None:
    async with Probes(host="127.0.0.1", port=0, metrics=Metrics(), alive=dict, ready=dict) as first:
        second = Probes(host="127.0.0.1", port=first.port, metrics=Metrics(), alive=dict, ready=dict)
        with pytest.raises(ConfigurationError, match=rf"--port {first.port}: .* name a free port"):
            async with second:
                pass
