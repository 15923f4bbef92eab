"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import settings

# No deadline: machines are shared. The same examples everywhere but in the nightly run, which looks for new ones.
settings.register_profile("fixed", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """Where the log goes is one setting of the whole process, which what a test calls may change."""
    yield
    structlog.reset_defaults()
