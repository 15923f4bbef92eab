"""Seeds to live through, and the table at the end."""

import os
from collections import Counter
from typing import Any

import pytest

from failover.judge import middle_and_worst
from seeds import parametrize_seeds

SEEDS = os.environ.get("FAILOVER_SEEDS", "")
FEW = "0-1"
"""Where nothing is said."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize_seeds(metafunc, SEEDS or FEW)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    lives = [dict(report.user_properties)["life"] for report in reports if "life" in dict(report.user_properties)]
    if not SEEDS or not lives:
        return
    line = terminalreporter.write_line
    terminalreporter.section("replicas")
    sums = Counter[str]()
    for life in lives:
        sums.update({key: life[key] for key in ("strikes", "tenures", "writes", "jobs", "problems")})
    line(f"{len(lives)} schedules, {sum(not life['problems'] for life in lives)} without a fault; {dict(sums)}")
    failovers = [tuple(each) for life in lives for each in life["failovers"]]
    line(f"failover: {middle_and_worst([seconds for _, seconds in failovers])}")
    for kind in sorted({kind for kind, _ in failovers}):
        line(f"  {kind:40} {middle_and_worst([seconds for each, seconds in failovers if each == kind])}")
