"""`trainer.metricDefinitions`: what the API server can't tell of a regular expression."""

import time

import pytest
from pydantic import ValidationError

from footplate.api.trainer import MetricDefinition


@pytest.mark.parametrize(
    "regex",
    [
        "f1=(",
        r"f1=[0-9.]+",
        r"f1=\(x\)[(]",
        r"(a)(?=b)",
        r"(?<=a)(b)",
        r"(a)\1",
        "f1=(?:x)",
        "(?i)x",
        "((a{99}){99}){99}",
    ],
)
def test_an_expression_without_a_group_or_that_may_be_slow_is_refused(regex: str) -> None:
    with pytest.raises(ValidationError, match="must be a regular expression of RE2's syntax"):
        MetricDefinition(name="f1", regex=regex)


@pytest.mark.parametrize(
    "regex", [r"f1=([-+.0-9eE]+)", r"^step (?P<n>\d+)[()]$", r"(?i)loss:\s*(\S+)", r"[]()](x)", "(a+)+$"]
)
def test_others_are_taken(regex: str) -> None:
    assert MetricDefinition(name="f1", regex=regex).regex == regex


def test_the_check_itself_takes_no_time() -> None:
    began = time.monotonic()
    with pytest.raises(ValidationError):
        MetricDefinition(name="f1", regex="[" * 512)
    MetricDefinition(name="f1", regex="(" + "a?" * 255 + ")")
    assert time.monotonic() - began < 1


def test_an_expression_that_takes_long_to_check_does_so_once() -> None:
    """A job is read at every look at it, and has up to forty of them."""
    took = []
    for _ in range(2):
        began = time.monotonic()
        for number in range(3):
            MetricDefinition(name="f1", regex=rf"(\w{{{200 + number}}})")
        took.append(time.monotonic() - began)
    assert took[1] < took[0] / 10
