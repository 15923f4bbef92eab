"""Seeds to live through, the site that all of them share, and the table at the end of `make chaos`."""

import os
import statistics
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from chaos.site import Site
from seeds import parametrize_seeds

SEEDS = os.environ.get("CHAOS_SEEDS", "")
FEW = "0-2"
"""Where nothing is said."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    parametrize_seeds(metafunc, SEEDS or FEW)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    async with Site(tmp_path_factory.mktemp("chaos")) as running:
        yield running


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.stats.get(outcome, ())]
    stories = [dict(report.user_properties)["story"] for report in reports if "story" in dict(report.user_properties)]
    if not SEEDS or not stories:
        return
    faults: Counter[str] = Counter()
    for story in stories:
        faults.update(story["faults"])
    terminalreporter.section("chaos")
    lost = sorted(steps for story in stories for steps in story["lost"])
    exact = sum(story["exact"] for story in stories)
    attempts, seconds = (sum(story[name] for story in stories) for name in ("attempts", "seconds"))
    terminalreporter.write_line(f"{len(stories)} schedules, {exact} exact; {faults.total()} faults, {attempts} gangs")
    terminalreporter.write_line(f"{seconds:,.0f} s, {seconds / len(stories):.1f} s a schedule")
    if lost:
        terminalreporter.write_line(f"steps done again at a restart: median {lost[len(lost) // 2]}, most {lost[-1]}")
    alone = [each for story in stories for each in story["alone"]]
    terminalreporter.write_line(
        "faults; of those that struck alone and ended a gang: seconds to the next step, steps again"
    )
    for kind, count in sorted(faults.items()):
        terminalreporter.write_line(f"  {count:4}  {kind:42} {_after([each for each in alone if each[0] == kind])}")


def _after(alone: list[Any]) -> str:
    """How it went on after faults of one kind."""
    if not alone:
        return ""
    seconds, lost = statistics.median(each[1] for each in alone), [each[2] for each in alone]
    return f"{len(alone):3}: median {seconds:4.1f} s; median {statistics.median(lost):.0f}, most {max(lost)}"
