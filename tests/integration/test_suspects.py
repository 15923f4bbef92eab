"""A real Prometheus that scrapes an exporter, and the part of the operator that asks it for nodes whose GPUs failed."""

import asyncio
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from footplate.machinery.clock import SystemClock
from footplate.machinery.metrics import Metrics
from footplate.machinery.prometheus import Prometheus as Client
from footplate.machinery.suspects import Suspects
from prometheus_server import Prometheus

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

EXPORTED = """\
# TYPE DCGM_FI_DEV_XID_ERRORS gauge
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100",Hostname="gpu-a",pod="x"} 0
DCGM_FI_DEV_XID_ERRORS{gpu="5",UUID="GPU-b",device="nvidia5",modelName="NVIDIA H100",Hostname="gpu-b",pod=""} 79
DCGM_FI_DEV_XID_ERRORS{gpu="1",UUID="GPU-c",device="nvidia1",modelName="NVIDIA H100",Hostname="gpu-c",pod="y"} 31
DCGM_FI_DEV_XID_ERRORS{gpu="2",UUID="GPU-d",device="nvidia2",modelName="NVIDIA H100",Hostname="gone",pod="z"} 48
"""
"""What DCGM's exporter serves, written by hand after its documentation: no machine of the tests has a GPU."""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
        """Requests are no news."""


class Once(SystemClock):
    """For what does something, and then sleeps: it does it once."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.set()
        await asyncio.Event().wait()


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    exporter = tmp_path / "exporter"
    exporter.mkdir()
    (exporter / "metrics").write_text(EXPORTED)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(exporter)))
    Thread(target=server.serve_forever, daemon=True).start()
    target = {"static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    scrape = {"job_name": "dcgm", **target}
    try:
        with Prometheus(tmp_path / "prometheus", [scrape]) as prometheus:
            yield prometheus
    finally:
        server.shutdown()
        server.server_close()


def test_a_node_with_a_fatal_error_is_suspect(prometheus: Prometheus) -> None:
    prometheus.wait_for("count(DCGM_FI_DEV_XID_ERRORS)", lambda samples: [value for _, value in samples] == [4.0])

    async def ask() -> dict[str, str]:
        clock, nodes = Once(), ("gpu-a", "gpu-b", "gpu-c")
        suspects = Suspects(Client(prometheus.url), lambda: nodes, clock=clock, metrics=Metrics())
        asking = asyncio.create_task(suspects.run())
        await clock.slept.wait()
        asking.cancel()
        return dict(suspects.now())

    assert asyncio.run(ask()) == {"gpu-b": "XID 79 (GPU has fallen off the bus) of GPU 5"}
