from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    """What is logged during a test, instead of on the terminal."""
    with capture_logs() as entries:
        yield entries
