from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from unit.machinery.support import FakeClock, make_job
from unit.machinery.worker_bench import Bench


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged during a test, instead of on the terminal."""
    with capture_logs() as entries:
        yield entries


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def bench() -> Bench:
    """A worker with one job to look at."""
    bench = Bench()
    bench.cluster.jobs.observe(make_job())
    return bench
